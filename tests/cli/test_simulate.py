"""`noisescale simulate` as its users call it."""

import json

import pytest

from noisescale.cli import main

SMALL = ["simulate", "--sites", "4096", "--environments", "10", "--starts", "16"]
SMALL += ["--log-times", "3", "33", "7"]


def call(capsys, *arguments):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    assert caught.value.code == 2 and captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("noisescale: error: ")
    return captured.err


def test_a_simulation_in_json_with_law_window_walls_and_figures(tmp_path, capsys):
    out = tmp_path / "walk"
    code, text, _ = call(capsys, *SMALL, "--out", out, "--json")
    document = json.loads(text)
    assert code == 0 and document["schema"] == "noisescale.simulate/1"
    assert document["environments"] == 10 and len(document["times"]) == 7
    law = document["law"]
    walls = [row["log_time"] for row in document["times"] if not row["in_window"]]
    assert law["times_at_walls"] == len(walls) > 0 and law["window"] == [3.0, min(walls) - 5.0]
    assert law["predicted_exponent"] == 2
    low, high = law["alpha_interval"]
    assert low < law["alpha"] < high and law["verdict"] in ("log-power", "undecided")
    assert all(0 <= row["wall_fraction"] <= 1 for row in document["times"])
    for name in ("potential", "distance", "collapse"):
        assert (out / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "summary.json").read_text()) == document
    # A second call trains nothing and says the same.
    assert json.loads(call(capsys, *SMALL, "--out", out, "--json")[1]) == document


def test_the_table_names_law_exponent_interval_and_window(tmp_path, capsys):
    text = call(capsys, *SMALL, "--out", tmp_path)[1]
    for part in ("median |x|", "at walls", "law: ", "2/alpha", "predicted 2", "95 % interval"):
        assert part in " ".join(text.split())


def test_a_ramp_is_not_described_as_a_power_of_the_logarithm(tmp_path, capsys):
    text = call(
        capsys, "simulate", "--alpha", 2, "--sigma", 0.1, "--sites", 8192, "--environments", 12,
        "--starts", 8, "--times", 20, 40, 80, 160, 320, 640, "--out", tmp_path, "--json",
    )[1]  # fmt: skip
    law = json.loads(text)["law"]
    assert law["verdict"] == "power" and law["predicted_exponent"] is None
    assert 0.5 < law["power_of_t"] < 1.1 and not (tmp_path / "collapse.png").exists()


def test_a_free_walker_is_a_power_one_half(tmp_path, capsys):
    text = call(
        capsys, "simulate", "--potential", "flat", "--sites", 4096, "--environments", 2,
        "--starts", 4, "--log-times", 3, 8, 8, "--out", tmp_path, "--json",
    )[1]  # fmt: skip
    law = json.loads(text)["law"]
    assert law["verdict"] == "power" and law["power_of_t"] == pytest.approx(0.5, abs=0.02)


def test_short_windows_stay_undecided(tmp_path, capsys):
    text = call(
        capsys, "simulate", "--sites", 4096, "--environments", 12, "--starts", 16,
        "--log-times", 3, 14, 12, "--out", tmp_path, "--json",
    )[1]  # fmt: skip
    law = json.loads(text)["law"]
    assert law["verdict"] == "undecided" and law["alpha"] > 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--alpha", "2.5"], "(0, 2]"),
        (["--temperature", "0"], "temperature"),
        (["--sites", "100", "--log-times", "5", "100", "5"], "too few for ln t = 100"),
        (["--times", "5", "3"], "must ascend"),
        (["--times", "5", "--log-times", "1", "2", "3"], "not both"),
        (["--log-times", "5", "3", "4"], "below"),
        (["--log-times", "1", "3", "2.5"], "COUNT"),
        (["--log-times", "1", "3", "nan"], "COUNT"),
        (["--log-times", "nan", "3", "4"], "below"),
        (["--potential", "harmonic", "--stiffness", "1"], "neighbouring sites differ"),
        (["--temperature", "0.001"], "neighbouring sites differ"),
        (["--method", "exakt"], "did you mean 'exact'"),
        (["--method", "walkers"], "hop by hop"),
        (["--potential", "fractal"], "self-affine"),
        (["--environments", "0"], "environments"),
        (["--out", ""], "--out is empty"),
        (["--alpha", "nan"], "(0, 2]"),
        (["--seed", "-3"], "seed"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert part in refused(capsys, "simulate", *arguments)
    assert not list(tmp_path.iterdir())
