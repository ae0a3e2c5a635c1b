"""Names of data sets, models, variants, seeds and samplers: what is one."""

MAX_NAME = 100
"""Bytes of the longest name, in UTF-8: file systems take 255, and files add their own words."""

NAME_RULE = f"1 to {MAX_NAME} printable characters, without / and \\ and with no dot as the first"
"""What `is_name` asks of a name, in words."""


def is_name(text: object) -> bool:
    """Whether a text can name a data set, model, variant, seed or sampler: `NAME_RULE`.

    Names become folders of runs and of the cache, and files of the comparison: none leads out of
    these, hides a file or breaks a line.
    """
    if not isinstance(text, str) or not text.isprintable():
        return False
    bounded = 0 < len(text.encode()) <= MAX_NAME
    return bounded and not text.startswith(".") and not {"/", "\\"} & set(text)
