"""Sample grids stand beside the tables."""

from bench.compare.cli import main


def test_the_last_grid_of_the_lowest_seed_is_copied_and_linked(make_run, tmp_path):
    for seed in (1, 0):
        for checkpoint in (1, 2):
            row = {"generator": {"fid_domain": 2.0}}
            path = make_run("gan", seed, row, checkpoint=checkpoint, checkpoints=2)
            picture = path / "samples" / f"checkpoint={checkpoint}_generator.png"
            picture.write_bytes(f"seed {seed}, point {checkpoint}".encode())
    without = make_run("ddpm", 0, {"ddim-50": {"fid_domain": 1.0}})
    assert not list((without / "samples").iterdir())
    out = tmp_path / "tables"
    assert main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    assert (out / "digits" / "gan_generator.png").read_bytes() == b"seed 0, point 2"
    text = (out / "digits.md").read_text()
    assert "![gan, generator, seed 0](digits/gan_generator.png)" in text
    assert "ddpm_ddim-50.png" not in text
