"""Starting, finding, awaiting and stopping runs of a Glue job, over the wire, where Glue refuses or does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.server import environment
from lake_pipeline.engines.glue_job import GlueJob, GlueRun
from lake_pipeline.engines.glue_logs import log_url, run_url, tail
from lake_pipeline.errors import EngineError, EngineUnreachable
from lake_pipeline_tests.glue import LOST, WAITS, Glue, glue_of
from lake_pipeline_tests.waiting import until

ENDS = "print('done')\n"
A_DAY = timedelta(days=1)


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Glue]:
    with glue_of(monkeypatch, grace=0.2) as started:
        yield started


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def job(glue: Glue, told: list[str]) -> GlueJob:
    return GlueJob(glue.name, told.append, poll=0.05, retry=0.01)


def nothing() -> GlueRun | None:
    return None


def since() -> datetime:
    return datetime.now(UTC) - A_DAY


def check_pauses(told: list[str], longest: list[float]) -> None:
    """Each line tells of a pause within the upper half of its length, so that not all ask again at once."""
    pauses = [float(line.rpartition(" in ")[2].removesuffix(" s")) for line in told]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True)), pauses


def test_a_run_is_started_and_awaited_and_its_states_are_told(glue: Glue, job: GlueJob, told: list[str]) -> None:
    glue.job(ENDS)

    run = job.wait(job.start({"--a": "b"}, nothing))

    assert (run.state, run.ended, dict(run.arguments)) == ("SUCCEEDED", True, {"--a": "b"})
    assert told[-1] == f"Glue job {glue.name}, run {run.id}: SUCCEEDED"


def test_a_run_without_a_place_is_asked_for_three_more_times_with_doubled_waits(
    glue: Glue, job: GlueJob, told: list[str]
) -> None:
    glue.job(WAITS)
    first = glue.start()

    with pytest.raises(EngineError, match=r"tries: 4.*Concurrent runs exceeded"):
        job.start({}, nothing)

    check_pauses(told, [0.01, 0.02, 0.04])
    job.stop_and_wait(first)
    assert glue.run(job.start({}, nothing))["JobRunState"] in ("STARTING", "RUNNING")


def test_a_refusal_is_not_repeated(glue: Glue, job: GlueJob, told: list[str]) -> None:
    with pytest.raises(EngineError, match="EntityNotFoundException"):
        job.start({}, nothing)

    assert glue.faults.calls.count("StartJobRun") == 1
    assert told == []


@pytest.mark.parametrize("fault", ["ThrottlingException", "ConcurrentRunsExceededException"])
def test_a_start_that_is_throttled_is_repeated(glue: Glue, job: GlueJob, fault: str) -> None:
    glue.job(ENDS)
    glue.faults.answers["StartJobRun"] = [fault, fault]

    assert job.wait(job.start({}, nothing)).state == "SUCCEEDED"


def test_a_start_whose_answer_was_lost_is_found_and_not_repeated(glue: Glue, job: GlueJob) -> None:
    glue.job(ENDS)
    arguments = {"--lake_attempt": "events/one/1"}
    glue.faults.answers["StartJobRun"] = [LOST]

    run_id = job.start(arguments, lambda: job.find(arguments, since()))

    assert [run["Id"] for run in glue.runs()] == [run_id]


def test_a_start_whose_answer_was_lost_and_that_is_not_found_may_go_on(glue: Glue, job: GlueJob) -> None:
    glue.job(ENDS)
    glue.faults.answers["StartJobRun"] = [LOST]
    with pytest.raises(EngineUnreachable, match="may have been started"):
        job.start({}, nothing)

    assert glue.faults.calls.count("StartJobRun") == 1


def test_throttled_polls_do_not_end_the_wait(glue: Glue, job: GlueJob, told: list[str]) -> None:
    glue.job(ENDS)
    run_id = job.start({}, nothing)
    glue.faults.answers["GetJobRun"] = ["ThrottlingException"] * 4

    assert job.wait(run_id).state == "SUCCEEDED"
    check_pauses(told[:4], [0.1, 0.2, 0.4, 0.8])


def test_glue_that_does_not_answer_for_too_long_is_given_up(glue: Glue) -> None:
    glue.job(WAITS)
    job = GlueJob(glue.name, lambda _: None, poll=0.01, retry=0.01, patience=0.1)
    run_id = job.start({}, nothing)
    glue.faults.answers["GetJobRun"] = ["ThrottlingException"] * 100

    with pytest.raises(EngineUnreachable, match=r"no answer for 0.1 s"):
        job.wait(run_id)


def test_a_poll_that_is_refused_is_no_end_of_the_run(glue: Glue, job: GlueJob) -> None:
    glue.job(WAITS)
    run_id = job.start({}, nothing)
    glue.faults.answers["GetJobRun"] = ["AccessDeniedException"]

    with pytest.raises(EngineUnreachable, match="AccessDeniedException"):
        job.wait(run_id)


def test_no_server_at_all_is_one_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    job = GlueJob("convert", lambda _: None, poll=0.01, retry=0.01, patience=0.05)

    with pytest.raises(EngineUnreachable, match=r"no answer for 0.05 s"):
        job.get("jr_1")
    with pytest.raises(EngineError, match="did not start, tries: 4"):
        job.start({}, nothing)


def test_missing_credentials_are_an_error_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    told: list[str] = []
    job = GlueJob("convert", told.append, poll=0.01, retry=0.01)

    with pytest.raises(EngineError, match="Unable to locate credentials"):
        job.start({}, nothing)
    with pytest.raises(EngineUnreachable, match="Unable to locate credentials"):
        job.get("jr_1")
    assert told == []


def test_the_newest_run_of_the_same_arguments_is_found_page_by_page(glue: Glue, job: GlueJob) -> None:
    glue.job(ENDS, ExecutionProperty={"MaxConcurrentRuns": 1000})
    wanted = {"--lake_attempt": "events/one/1"}
    ids = [job.start({**wanted, "--other": str(number)}, nothing) for number in range(2)]
    other = job.start({"--lake_attempt": "events/one/11"}, nothing)

    found = job.find(wanted, since())

    assert found is not None
    assert found.id == ids[-1]
    assert job.find({"--lake_attempt": "events/one/2"}, since()) is None
    assert job.find(wanted, datetime.now(UTC) + A_DAY) is None
    for run_id in (*ids, other):
        job.wait(run_id)


def test_a_run_that_glue_forgot_is_no_run(glue: Glue, job: GlueJob) -> None:
    glue.job(ENDS)
    assert job.get("jr_unknown") is None
    with pytest.raises(EngineError, match="has no run jr_unknown any more"):
        job.wait("jr_unknown")


def test_a_run_that_has_ended_need_not_be_stopped(glue: Glue, job: GlueJob) -> None:
    glue.job(ENDS)
    run_id = job.start({}, nothing)
    job.wait(run_id)

    job.stop(run_id)

    assert glue.run(run_id)["JobRunState"] == "SUCCEEDED"


def test_a_run_that_does_not_stop_is_not_taken_for_stopped(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    with glue_of(monkeypatch, grace=3) as glue:
        glue.job(f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{WAITS}")
        job = GlueJob(glue.name, told.append, poll=0.05, retry=0.01, stop_patience=0.2)
        run_id = job.start({}, nothing)
        until(lambda: glue.log("output", run_id) == ["waiting"])
        with pytest.raises(EngineUnreachable, match=r"is STOPPING after 0.2 s"):
            job.stop_and_wait(run_id)


def test_a_run_that_expired_has_ended(monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    with glue_of(monkeypatch, grace=0.2, queued=0.1) as glue:
        glue.job(WAITS)
        glue.start()
        run = GlueJob(glue.name, told.append, poll=0.05, retry=0.01).wait(glue.start(JobRunQueuingEnabled=True))
    assert (run.state, run.ended) == ("EXPIRED", True)


def test_the_tail_of_a_log_is_its_last_lines(glue: Glue, job: GlueJob) -> None:
    glue.job("import sys\nfor n in range(40): print(n, file=sys.stderr)\n")
    run = job.wait(job.start({}, nothing))

    lines = tail(client("logs"), run.log_group, run.id).splitlines()

    assert lines[0] == "the last lines of /aws-glue/jobs/error:"
    assert lines[1:] == [str(number) for number in range(15, 40)]


def test_a_log_that_cannot_be_read_says_why(glue: Glue) -> None:  # noqa: ARG001 - the environment is the stand-in's
    assert "ResourceNotFoundException" in tail(client("logs"), "/aws-glue/jobs", "jr_1")


def test_pages_of_the_console_are_linked() -> None:
    assert run_url("eu-central-1", "lake convert", "jr_1") == (
        "https://eu-central-1.console.aws.amazon.com/gluestudio/home?region=eu-central-1#/job/lake%20convert/run/jr_1"
    )
    assert log_url("eu-central-1", "/aws-glue/jobs/error", "jr_1") == (
        "https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1"
        "#logsV2:log-groups/log-group/$252Faws-glue$252Fjobs$252Ferror/log-events/jr_1"
    )
