#!/usr/bin/env bash
# Hydra: looking for plugins runs a module that is imported already a second time, in place.
#
# Version:  hydra-core 1.3.8, Python 3.11.
# Expected: a module is run once per process, as by `import`: the sweeper that Hydra finds is the class that a
#           program imported before, with whatever the program set on it, and state of a plugin's module stays.
# Seen:     the scan for plugins takes the module from sys.modules and runs its code in it again. Classes imported
#           before are no longer those of the module: isinstance() says no, attributes that were set are gone from
#           the new class, and counters and registries of the module begin anew. Plugins that are imported only
#           after the scan are not affected, so that the order of imports decides.
# Source:   hydra.core.plugins.Plugins._scan_all_plugins calls exec_module for modules in sys.modules.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check hydra-core==1.3.8

mkdir -p "$folder/program/hydra_plugins/counting"
touch "$folder/program/hydra_plugins/counting/__init__.py"
cat >"$folder/program/hydra_plugins/counting/plugin.py" <<'PYTHON'
from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

REGISTRY = []


class Counting(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None: ...
PYTHON

cd "$folder/program"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra_plugins.counting import plugin
from hydra_plugins.counting.plugin import Counting

plugin.REGISTRY.append("entered by the program")
BasicSweeper.marked = True
module = plugin

found = {each.__name__: each for each in Plugins.instance().discover(SearchPathPlugin)}["Counting"]
from hydra._internal.core_plugins import basic_sweeper

same_module = sys.modules["hydra_plugins.counting.plugin"] is module
print(f"the module is the same object:        {same_module}")
print(f"its class is the one imported before: {plugin.Counting is Counting}")
print(f"isinstance(found, imported class):    {isinstance(found(), Counting)}")
print(f"its registry:                         {plugin.REGISTRY}")
print(f"Hydra's own sweeper keeps its mark:   {hasattr(basic_sweeper.BasicSweeper, 'marked')}")
as_described = (
    same_module
    and plugin.Counting is not Counting
    and not isinstance(found(), Counting)
    and plugin.REGISTRY == []
    and not hasattr(basic_sweeper.BasicSweeper, "marked")
)
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
