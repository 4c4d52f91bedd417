"""`lake dlq`: messages of the events queue that were received in vain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from lake_pipeline.commands.options import Json
from lake_pipeline.errors import NothingMatched
from lake_pipeline.reports import duration_text, note, print_json, print_json_lines, print_table, say
from lake_pipeline.settings import load_settings

_SHOWN = 120
_NO_FAULT = "nothing is wrong with it by now; redrive it"

app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True, help="Events that were received in vain.")


@app.command("list", epilog="Example: lake dlq list")
def list_(
    most: Annotated[int, typer.Option("--limit", min=1, help="About so many of them.")] = 1000, json: Json = False
) -> None:
    """List the messages in the dead-letter queue of the events queue, and why each is there.

    To be listed they are received, which SQS counts; anyone can receive them again at once.

    JSON: one object a line with id, receives, sent_at, age_seconds, why and body.
    """
    from lake_pipeline.discovery.bucket import LakeBucket
    from lake_pipeline.discovery.dead_letters import dead_letter_queue, look_through, reason  # boto3 is slow to import

    settings = load_settings()
    bucket = LakeBucket.of(settings.store_url, "a queue of events")
    now = datetime.now(UTC)
    documents: list[dict[str, Any]] = [
        {
            "id": message.id,
            "receives": message.receives,
            "sent_at": message.sent_at,
            "age_seconds": round((now - message.sent_at).total_seconds()),
            "why": reason(message, bucket) or _NO_FAULT,
            "body": message.body,
        }
        for message in look_through(dead_letter_queue(settings), most)
    ]
    if json:
        print_json_lines(documents)
        return
    rows = [
        [
            each["id"],
            each["receives"],
            duration_text(timedelta(seconds=each["age_seconds"])),
            each["why"],
            each["body"][:_SHOWN],
        ]
        for each in documents
    ]
    if not print_table(["message", "receives", "age", "why", "body"], rows):
        note("no dead letters")


@app.command("redrive", epilog="Example: lake dlq redrive --all")
def redrive_(
    message: Annotated[list[str] | None, typer.Option(metavar="ID", help="This message; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are there now.")] = False,
    json: Json = False,
) -> None:
    """Send dead letters back to the events queue, to be received again.

    A copy is sent before the letter is deleted, so that nothing is lost if this is killed. What nothing can be made of
    still is a dead letter again after three more receives.

    JSON: redriven, the number of messages.
    """
    from lake_pipeline.discovery.dead_letters import dead_letter_queue, events_queue, redrive  # boto3 is slow to import

    if (message is not None) == everything:
        raise typer.BadParameter("name either --message, once or more often, or --all")
    settings = load_settings()
    wanted = set(message or [])
    sent = [
        letter.id
        for letter in redrive(
            events_queue(settings), dead_letter_queue(settings), lambda letter: everything or letter.id in wanted
        )
    ]
    if json:
        print_json({"redriven": len(sent)})
    else:
        say(f"{len(sent):,} sent back to {settings.events_queue}")
    if missing := wanted - set(sent):
        raise NothingMatched(f"no dead letter {', '.join(sorted(missing))}; lake dlq list shows them")
