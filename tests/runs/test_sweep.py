"""A sweep: its jobs are processes of their own, so one that fails ends alone, and is tried again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from processes import ROOT, TINY, TRAIN, Ended, environment, heed_ctrl_c, started, train

from sparse_seg.errors import UserError
from sparse_seg.runs import child, forked, schema
from sparse_seg.runs.jobs import expand, narrow
from sparse_seg.runs.overview import table

WORDS = (*TINY, "data.source._target_=scenes.fragile", "trainer.max_epochs=1", "data.source.seed=0,1")
LOSS = "_target_: sparse_seg.losses.PartialFocal\ngamma: 1.5\n"


@pytest.fixture(scope="module")
def cwd(tmp_path_factory) -> Path:
    """A working directory with a loss of the user's own."""
    path = tmp_path_factory.mktemp("sweep")
    (path / "mine" / "loss").mkdir(parents=True)
    (path / "mine" / "loss" / "own.yaml").write_text(LOSS)
    return path


def again(cwd: Path, fate: str) -> Ended:
    (cwd / "fate").write_text(fate)
    return train("-m", "--config-dir", "mine", *WORDS, "loss=own", cwd=cwd)


@pytest.fixture(scope="module")
def first(cwd) -> Ended:
    """The job of seed 0 kills itself."""
    return again(cwd, "0 die")


@pytest.fixture(scope="module")
def second(cwd, first) -> Ended:
    """The same command; now that job raises an error."""
    return again(cwd, "0 raise")


def job_folder(cwd: Path, seed: int) -> Path:
    """Seed 0 is the default and not in the name."""
    (found,) = (f for f in (cwd / "outputs" / "runs").iterdir() if f.is_dir() and ("source.seed=1" in f.name) == seed)
    return found


def test_a_job_that_is_killed_ends_alone(first, cwd):
    assert first.code == 1
    assert "2 runs, 0 of them done already" in first.out
    assert "job 1 failed (killed by signal 9): killed by signal 9" in first.err
    assert (job_folder(cwd, 1) / "result.json").exists()
    assert not (job_folder(cwd, 0) / "result.json").exists()


def test_failed_jobs_are_listed_with_overrides_and_error(first):
    said = first.err[first.err.index("1 of 2 runs failed; the same command tries them again:") :]
    assert "data.source.seed=0" in said
    assert "loss=own" in said
    assert "data.source.seed=1" not in said
    assert said.strip().endswith("killed by signal 9")
    assert "Traceback" not in first.err


def test_the_table_has_a_row_for_every_job(first, cwd):
    lines = first.out[first.out.index("final mIoU") :].splitlines()
    rows = [line for line in lines if " own " in f" {line} "]
    assert ["failed" in row for row in rows] == [True, False]
    result = json.loads((job_folder(cwd, 1) / "result.json").read_text())
    assert f"{result['miou_final']:.4f}" in rows[1]


def test_config_dir_reaches_the_jobs(first, cwd):
    result = json.loads((job_folder(cwd, 1) / "result.json").read_text())
    assert result["loss"] == "own"
    assert result["figures"]["loss.gamma"] == 1.5
    assert job_folder(cwd, 1).name.startswith("loss=own,")


def test_the_same_command_runs_only_what_failed(second, cwd):
    assert second.code == 1
    assert "2 runs, 1 of them done already" in second.out
    assert second.out.count("\njob ") == 1
    assert second.out.count("done already: ") == 1
    said = second.err[second.err.index("1 of 2 runs failed") :]
    assert "scene 0 is raise" in said
    assert "data.source.seed=0" in said
    kept = json.loads((job_folder(cwd, 0) / "failed.json").read_text())
    assert kept["reason"] == "exit code 1"
    assert "scene 0 is raise" in kept["error"]


def test_a_failed_job_says_which_run_it_is_as_a_finished_one_does(second, cwd):
    kept = json.loads((job_folder(cwd, 0) / "failed.json").read_text())
    done = json.loads((job_folder(cwd, 1) / "result.json").read_text())
    assert kept["axes"] == {key: done[key] for key in kept["axes"]}
    assert {"study", "method", "prior", "loss", "points", "augment", "split", "fold", "seed"} == kept["axes"].keys()
    differing = {k for k, v in done["figures"].items() if kept["figures"].get(k) != v}
    assert differing <= {"data.source.seed", "data.content", "trainer.precision", "channels_last"}


def test_the_parent_of_a_sweep_imports_no_torch(second, cwd):
    """From its start to the table, which needs tabulate; also where a job runs, in a process of its own."""
    words = ["train.py", "-m", "--config-dir", "mine", *WORDS, "loss=own"]
    code = f"""import atexit, json, pathlib, runpy, sys
atexit.register(lambda: pathlib.Path("imported").write_text(json.dumps(list(sys.modules))))
sys.argv = {words!r}
runpy.run_path({str(TRAIN)!r}, run_name="__main__")
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment(), capture_output=True, text=True)
    assert ended.stdout.count("\njob ") == 1, ended.stderr
    imported = json.loads((cwd / "imported").read_text())
    assert {"hydra", "tabulate"} <= set(imported)
    assert not {name.split(".")[0] for name in imported} & {"torch", "lightning", "albumentations", "timm"}


def test_a_single_run_of_a_jobs_words_is_that_job(second, cwd):
    ended = train("--config-dir", "mine", *WORDS[:-1], "data.source.seed=1", "loss=own", cwd=cwd)
    assert (ended.code, ended.out.strip()) == (0, f"done already: {job_folder(cwd, 1).relative_to(cwd)}"), ended.err


def test_a_job_has_the_figures_of_a_single_run(second, cwd):
    """Though it was forked from a process that had imported everything."""
    before = json.loads((job_folder(cwd, 1) / "result.json").read_text())
    ended = train("--config-dir", "mine", *WORDS[:-1], "data.source.seed=1", "loss=own", "overwrite=true", cwd=cwd)
    assert ended.code == 0, ended.err
    after = json.loads((job_folder(cwd, 1) / "result.json").read_text())
    timed = {key for key in before if "seconds" in key}
    assert {k: v for k, v in before.items() if k not in timed} == {k: v for k, v in after.items() if k not in timed}


def test_a_refused_value_anywhere_ends_the_sweep_before_its_first_job(tmp_path):
    ended = train("-m", *TINY, "seed=0,1", "points=5,0", cwd=tmp_path)
    assert ended.code == 1
    assert "points=0 must be a positive integer or 'all'" in ended.err
    assert "seed=0 points=0" in ended.err
    assert "\njob " not in ended.out
    assert "Traceback" not in ended.err
    assert not list(tmp_path.rglob("*seed=*"))


def alive(pid: int) -> bool:
    """False also for a process that is dead and not yet waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_killing_the_sweep_ends_its_job(tmp_path):
    (tmp_path / "fate").write_text("0 hang")
    with started("-m", *WORDS, cwd=tmp_path) as parent:
        assert wait(lambda: (tmp_path / "hanging").exists() and (tmp_path / "hanging").read_text() != "", 120)
        child = int((tmp_path / "hanging").read_text())
        between = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
        assert "forkserver" in Path(f"/proc/{between}/cmdline").read_text()
        assert alive(child)
        os.kill(parent.pid, signal.SIGKILL)
        assert wait(lambda: not alive(child), 30)
        assert wait(lambda: not alive(between), 30)


@pytest.fixture
def command_line() -> Iterator:
    """Gives the configuration that Hydra hands to a sweep's callback, with the words of its command line."""
    schema.register()

    def configured(*words: str) -> DictConfig:
        config = compose("config", overrides=[w for w in words if "," not in w], return_hydra_config=True)
        config.hydra.overrides.task = list(words)
        return config

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield configured


def grid(config: DictConfig) -> list[dict[str, str]]:
    narrow(config)
    return [dict(o.lstrip("+").split("=", 1) for o in job.overrides) for job in expand(config)]


def test_an_experiment_has_its_grid(command_line):
    jobs = grid(command_line("experiment=demo"))
    assert {(job["points"], job["loss"]) for job in jobs} == {
        (p, q) for p in ["5", "20", "50"] for q in ("focal", "ce")
    }
    assert len(jobs) == 6


@pytest.mark.parametrize(
    ("words", "points", "losses"),
    [
        (("points=5", "loss=ce"), ["5"], ["ce"]),
        (("points=5",), ["5", "5"], ["focal", "ce"]),
        (("points=7,9", "loss=dice"), ["7", "9"], ["dice", "dice"]),
        (("seed=0,1", "points=5", "loss=ce"), ["5", "5"], ["ce", "ce"]),
    ],
)
def test_values_of_the_command_line_narrow_an_experiments_grid(command_line, words, points, losses):
    jobs = grid(command_line("experiment=demo", *words))
    assert [job["points"] for job in jobs] == points
    assert [job["loss"] for job in jobs] == losses


def test_jobs_of_a_grid_have_different_folders(command_line):
    config = command_line("experiment=demo", "seed=0,1", "loss.gamma=1,2", "loss=focal")
    narrow(config)
    jobs = expand(config)
    assert len(jobs) == 12 == len({job.folder for job in jobs})
    assert {str(job.folder.parent) for job in jobs} == {"outputs/demo"}


def test_the_table_shows_what_a_cut_folder_name_hides(command_line):
    config = command_line("data=synthetic", "+loss.note=" + 40 * "long ", "+loss.zeta=1,2", "+loss.rate=1e-3")
    jobs = expand(config)
    assert all("zeta" not in job.folder.name for job in jobs)
    head, _, *rows = table(jobs).splitlines()
    assert head.split()[:5] == ["loss", "points", "augment", "seed", "loss.zeta"]
    assert [row.split()[:5] for row in rows] == [["focal", "20", "report", "0", z] for z in ("1", "2")]


@pytest.mark.parametrize("scored_on", ["masks", "points"])
def test_the_table_says_that_scores_are_of_points(command_line, tmp_path, scored_on):
    jobs = expand(command_line("data=synthetic", f"output_dir={tmp_path}"))
    jobs[0].folder.mkdir(parents=True)
    result = {"miou_final": 0.5, "miou_best": 0.6, "iou": {"Water": 0.5}, "accuracy": 0.75, "scored_on": scored_on}
    (jobs[0].folder / "result.json").write_text(json.dumps(result))
    said = table(jobs)
    assert ("held-out points alone" in said) == ("0.7500" in said) == (scored_on == "points")


def test_densities_of_one_file_of_points_are_refused(command_line):
    assert len(grid(command_line("points=5", "data.points_file=a.csv,b.csv"))) == 2
    assert len(grid(command_line("points=5,20", "data=folder", "data.root=own", "data.points_file=a.csv"))) == 2
    with pytest.raises(UserError, match=r"all points of data\.points_file=a\.csv are used.*points=5,20 would be one"):
        grid(command_line("points=20,5", "data.points_file=a.csv"))


def test_a_refused_value_names_its_run(command_line):
    with pytest.raises(UserError, match=r"points=0 must be .* \(in the run .*points=0 loss=ce\)"):
        grid(command_line("points=5,0", "loss=ce"))


@pytest.mark.parametrize("fork", [False, True])
def test_a_failed_childs_last_line_of_error_is_kept(capsys, tmp_path, fork):
    def run_child(code: str) -> tuple[int, str]:
        (tmp_path / "code.py").write_text(code)
        return child.run_child([sys.executable, str(tmp_path / "code.py")], fork)

    lines = ["Error executing job", "ValueError: no", "Set HYDRA_FULL_ERROR=1", "bye"]
    code = f"import sys; print(*{lines}, sep='\\n', file=sys.stderr); sys.exit(3)"
    assert run_child(code) == (3, "ValueError: no")
    assert capsys.readouterr().err.splitlines() == lines
    assert run_child("import sys; sys.exit('a.b=1 cannot be\\n')") == (1, "a.b=1 cannot be")
    assert run_child("import os; os.kill(os.getpid(), 9)") == (-9, "")
    assert run_child("pass") == (0, "")
    assert run_child("import sys; sys.stderr.buffer.write(b'\\xff error\\n'); sys.exit(1)")[1].endswith(" error")
    assert run_child("raise ValueError('no')") == (1, "ValueError: no")


def test_a_job_is_a_fork_where_that_is_safe(monkeypatch):
    def possible(accelerator: str = "auto", devices: object = 1, **more: object) -> bool:
        return forked.possible(OmegaConf.create({"trainer": {"accelerator": accelerator, "devices": devices, **more}}))

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not possible()  # the tests are another program
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(TRAIN), raising=False)
    assert possible() == (sys.platform == "linux")
    assert not possible(devices=2)
    assert not possible(devices="auto")
    assert not possible(num_nodes=2)
    assert not forked.possible(OmegaConf.create({"trainer": None})), "the job itself says what is wrong"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert not possible()
    assert possible("cpu") == (sys.platform == "linux")


def test_ctrl_c_ends_the_child_and_the_sweep(tmp_path):
    """The child gets the signal through its sweep, also where the terminal did not send it to both."""
    pid = tmp_path / "pid"
    sleeper = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)"
    code = f"import sys; from sparse_seg.runs import child; child.run_child([sys.executable, '-c', {sleeper!r}])"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c) as parent:
        assert wait(lambda: pid.exists() and pid.read_text() != "", 60)
        parent.send_signal(signal.SIGINT)
        _, err = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert "the sweep was stopped by Ctrl-C; the same command goes on" in err
    assert "Traceback" not in err
    assert not alive(int(pid.read_text()))
