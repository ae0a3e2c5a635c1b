from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.diffusion.noise_path import (
    SPACINGS,
    Path,
    Prediction,
    karras_path,
    spaced,
    straight_path,
    vp_path,
)
from models.diffusion.sampler_names import SamplerSpec, parse
from models.diffusion.samplers import (
    DDIM,
    DDPM,
    DPMPP,
    HEUN,
    METHODS,
    Method,
    sample_ancestral,
    sample_ddim,
    sample_dpmpp_2m,
    sample_heun,
)
from models.diffusion.schedules import cumulative_alphas, linear_betas


@st.composite
def specs(draw):
    """Any specification that some model could run."""
    method = draw(st.sampled_from(list(METHODS.values())))
    number = st.floats(0, 1e6, allow_subnormal=False).map(abs)
    return SamplerSpec(
        method=method,
        steps=draw(st.integers(1, 10_000)),
        spacing=draw(st.sampled_from(SPACINGS)) if method.spacing else "trailing",
        eta=draw(st.floats(0, 1).map(abs)) if "eta" in method.options else 0.0,
        churn=draw(number) if "churn" in method.options else 0.0,
        guidance=draw(number),
    )


@given(specs())
@settings(max_examples=200, deadline=None)
def test_a_name_is_read_as_what_it_names(spec):
    assert parse(spec.name) == spec


@given(specs(), specs())
@settings(max_examples=100, deadline=None)
def test_equal_samplers_alone_have_equal_names(one, other):
    assert (one.name == other.name) == (one == other)


@given(specs())
@settings(max_examples=100, deadline=None)
def test_names_can_be_file_names(spec):
    assert set(spec.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("ddim-50", SamplerSpec(DDIM, 50)),
        ("ddpm-1000", SamplerSpec(DDPM, 1000)),
        ("dpmpp-10-uniform", SamplerSpec(DPMPP, 10, "uniform")),
        ("heun-18-churn40", SamplerSpec(HEUN, 18, churn=40.0)),
        ("ddim-20-quadratic-eta0.5-cfg3", SamplerSpec(DDIM, 20, "quadratic", 0.5, 0.0, 3.0)),
        ("ddim-20-eta1-cfg0", SamplerSpec(DDIM, 20, eta=1.0, guidance=0.0)),
    ],
)
def test_names_of_the_documentation(name, spec):
    assert parse(name) == spec
    assert spec.name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ddim",
        "ddim-0",
        "ddim--5",
        "plms-5",
        "meanflow",
        "ddim-5-leading",
        "ddim-5-cfg-1",
        "ddim-5 ",
        "5",
        "DDIM-5",
        "ddim-5-eta",
        "ddim-5-cfg3-eta0.5",
        "ddim-5-eta0.5-uniform",
        "ddim-5-cfgnan",
        "ddim-5-cfg1e3",
    ],
)
def test_what_is_no_name_is_refused_with_the_forms(name):
    with pytest.raises(ValueError, match=r"<method>-<steps>\[-uniform.*ddpm, ddim, dpmpp, heun"):
        parse(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ddpm-5-eta0.5", "eta, which only ddim has"),
        ("ddim-5-eta1.5", r"in \[0, 1\]"),
        ("ddim-5-churn3", "churn, which only heun has"),
        ("heun-5-uniform", "spacing of timesteps, which heun has not"),
        ("euler-5-uniform", "spacing of timesteps, which euler has not"),
        ("euler-5-eta0.5", "eta, which only ddim has"),
        ("meanflow-2-churn1", "churn, which only heun has"),
        ("heun-100001", "more than 100,000 steps: ask for fewer"),
    ],
)
def test_options_of_other_methods_are_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(name)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("ddim-5-eta0", "ddim-5"),
        ("heun-5-churn0.0", "heun-5"),
        ("ddim-5-cfg1.0", "ddim-5"),
        ("ddim-5-cfg3.0", "ddim-5-cfg3"),
        ("ddim-5-eta0.50", "ddim-5-eta0.5"),
        ("ddim-1٢", "ddim-12"),  # an Arabic digit
    ],
)
def test_a_sampler_has_one_name_only(name, spelled):
    with pytest.raises(ValueError, match=f"must be spelled '{spelled}'"):
        parse(name)


@pytest.mark.parametrize(
    ("name", "all_steps", "last_three"),
    [("ddim-50", 50, 3), ("heun-18", 35, 5), ("dpmpp-10-cfg2", 20, 6), ("heun-5-cfg2", 18, 10)],
)
def test_evaluations(name, all_steps, last_three):
    """Heun takes two a step and one in the last, guidance doubles: 18 steps are NFE 35 (EDM)."""
    assert parse(name).evaluations() == all_steps
    assert parse(name).evaluations(3) == last_three


VP_PATH = vp_path(cumulative_alphas(linear_betas(1000)), spaced(1000, 5))


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("guidance", ["", "-cfg2"])
@pytest.mark.parametrize("name", ["ddpm-5", "ddim-5-eta0.5", "dpmpp-5", "heun-5-churn2"])
def test_run_calls_the_denoiser_as_often_as_declared(name, guidance):
    calls = []

    def denoiser(x, t):
        calls.append(t)
        return Prediction(torch.tanh(x))

    path = karras_path(5) if name.startswith("heun") else VP_PATH
    parse(name).run(denoiser, torch.randn(2, 3), path, seeded())
    assert len(calls) == parse(name).evaluations()
    spec = parse(name + guidance)
    assert spec.evaluations() == len(calls) * (2 if guidance else 1)


@pytest.mark.parametrize("name", ["ddpm-5", "ddim-5", "dpmpp-5", "heun-5"])
def test_a_path_must_begin_in_noise(name):
    short = Path((0.8, 0.9, 1.0), (0.6, 0.4, 0.0), (1.0, 0.0))
    with pytest.raises(ValueError, match=f"{name} needs .*0.8 and sigma 0.6.*: add noise"):
        parse(name).require(short, "add noise")


FLOW = straight_path(2)
AVERAGED = replace(FLOW, times=((1.0, 0.5), (0.5, 0.0)))


@pytest.mark.parametrize("name", ["ddpm-2", "ddim-2-eta1", "dpmpp-2", "heun-2"])
@pytest.mark.parametrize("path", [FLOW, VP_PATH, karras_path(2)])
def test_most_methods_follow_any_path(name, path):
    """A rectified flow's first level has no signal at all."""
    parse(name).require(path, "")


@pytest.mark.parametrize(
    ("name", "path", "sentence"),
    [
        ("heun-2-churn1", FLOW, r"heun-2-churn1 needs .*alphas are all 1.*: leave out -churn"),
        ("heun-2-churn1", VP_PATH, "leave out -churn"),
        ("euler-2", VP_PATH, "euler-2 needs .*straight line.*: ddim is Euler's method on any"),
        ("euler-2", karras_path(2), "euler-2 needs .*straight line.* alpha 1 and sigma 80"),
        ("meanflow-2", FLOW, "meanflow-2 needs a model that predicts average velocities"),
        ("meanflow-2", VP_PATH, "got one that predicts at single noise levels: choose euler"),
    ],
)
def test_a_path_that_lacks_what_a_method_needs_is_refused(name, path, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(name).require(path, "")


def test_the_needs_of_flows_are_met_by_flows():
    parse("heun-2-churn1").require(karras_path(2), "")
    parse("euler-2").require(FLOW, "")
    parse("meanflow-2").require(AVERAGED, "")


def test_a_step_of_average_velocities_is_told_both_its_ends():
    """x - (t - r) u, by the prediction x - t u."""
    told = []

    def denoiser(x, time):
        told.append(time)
        t = time[:, :1]
        return Prediction(x - t * 3.0)

    x = torch.randn(4, 3, generator=seeded())
    drawn = parse("meanflow-2").run(denoiser, x, AVERAGED, seeded())
    assert [time.tolist() for time in told] == [[[1.0, 0.5]] * 4, [[0.5, 0.0]] * 4]
    torch.testing.assert_close(drawn, x - 3.0)


def test_a_method_is_one_function_and_one_entry():
    """Another method in the registry gets names, options, calls and checks from its entry alone."""

    def sample_once(denoiser, x, path, generator, settings):
        return denoiser(x, torch.full((len(x),), path.times[0])).x_0

    once = Method("once", sample_once, spacing=False, evaluations=lambda steps: 1)
    x, spec = torch.randn(2, 3, generator=seeded()), SamplerSpec(once, 3, guidance=2.0)
    assert spec.name == "once-3-cfg2"
    assert spec.evaluations() == 2
    drawn = spec.run(lambda x, t: Prediction(x + t[:, None]), x, VP_PATH, seeded())
    assert torch.equal(drawn, x + VP_PATH.times[0])


def test_run_is_the_sampler_that_is_named():
    def denoiser(x, t):
        return Prediction(torch.tanh(0.7 * x + t[:, None] / 500), torch.full_like(x, 0.3))

    x = torch.randn(8, 3, generator=seeded())
    karras = karras_path(5)
    expected = {
        "ddpm-5": sample_ancestral(denoiser, x, VP_PATH, seeded(), variance="learned"),
        "ddim-5": sample_ddim(denoiser, x, VP_PATH, seeded()),
        "ddim-5-eta0.5": sample_ddim(denoiser, x, VP_PATH, seeded(), eta=0.5),
        "dpmpp-5": sample_dpmpp_2m(denoiser, x, VP_PATH),
        "heun-5": sample_heun(denoiser, 80 * x, karras, seeded()),
        "heun-5-churn2": sample_heun(denoiser, 80 * x, karras, seeded(), churn=2.0),
    }
    for name, samples in expected.items():
        heun = name.startswith("heun")
        start, path = (80 * x, karras) if heun else (x, VP_PATH)
        drawn = parse(name).run(denoiser, start, path, seeded(), variance="learned")
        assert torch.equal(drawn, samples), name
    assert len({tuple(samples.flatten().tolist()) for samples in expected.values()}) == 6


def test_the_last_steps_churn_as_they_do_in_the_whole_path():
    def denoiser(x, t):
        return Prediction(torch.tanh(x))

    x, last = torch.randn(2, 3, generator=seeded()), karras_path(10).last(4)
    drawn = parse("heun-10-churn2").run(denoiser, last.sigmas[0] * x, last, seeded())
    whole = sample_heun(denoiser, last.sigmas[0] * x, last, seeded(), churn=2.0 * 4 / 10)
    assert torch.equal(drawn, whole)
