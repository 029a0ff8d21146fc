"""Planted bugs of the event streams: where a stream begins, what it carries, how it ends."""

from typing import Final

from .edit import Edit, Planted

_PLACE: Final = "adapters.http.place:place_in"
_PUSH: Final = "adapters.http.reader:Reader.push"
_TO_NEXT: Final = "adapters.http.walk:Walk._to_next"
_ADVANCE: Final = "adapters.http.broadcaster:Broadcaster._advance"

RESUMES: Final = (
    Planted(
        "resume-one-too-far",
        "A resume skips the first frame after its cursor.",
        ("delivery-gap", "clean-end", "not-served", "client-raised"),
        (
            Edit(
                "adapters.http.walk:Walk.begin",
                "reader.seq = place.seq\n",
                "reader.seq = place.seq + (place.seq > 0)\n",
            ),
        ),
    ),
    Planted(
        "resume-one-too-short",
        "A resume sends the frame of its cursor again.",
        ("delivery-repeat",),
        (
            Edit(
                "adapters.http.walk:Walk.begin",
                "reader.seq = place.seq\n",
                "reader.seq = place.seq - (place.seq > 0)\n",
            ),
        ),
    ),
    Planted(
        "resume-sends-the-whole-record",
        "A resume within a record sends the record from its first frame on.",
        ("delivery-repeat",),
        (
            Edit(
                "adapters.http.walk:Walk._page",
                "record.after(seq, limit) if isinstance(record, Record) else record",
                "record",
            ),
        ),
    ),
    Planted(
        "cursor-of-another-run",
        "A run's stream takes the cursor of another run for its own.",
        ("forged-cursor-honoured", "cursor-refused", "stream-refused", "clean-end", "not-served"),
        (Edit("adapters.http.stream:Streams._place", "wish.cursor.run_id != run_id", "not wish.cursor.run_id"),),
    ),
    Planted(
        "cursor-ahead",
        "A cursor beyond the log's end is taken for the end.",
        ("forged-cursor-honoured", "clean-end"),
        (Edit(_PLACE, 'return Place(seq, "ahead")', "return Place(feed.head)"),),
    ),
    Planted(
        "cursor-ahead-by-lag",
        "A cursor that another server gave is refused as ahead, because nobody looks whether the log has grown.",
        ("cursor-refused",),
        (Edit(_PLACE, "await broadcaster.refresh(feed)", "pass"),),
    ),
    Planted(
        "cursor-epoch-unchecked",
        "A cursor's epoch is not compared with the log's.",
        ("forged-cursor-honoured", "stream-refused", "clean-end"),
        (Edit(_PLACE, "if epoch != cursor.epoch:", "if epoch is None:"),),
    ),
    Planted(
        "cursor-generation-unchecked",
        "A cursor of a later generation of the store is honoured.",
        ("forged-cursor-honoured", "stream-refused", "clean-end"),
        (Edit(_PLACE, "cursor.generation != broadcaster", "cursor.generation < broadcaster"),),
    ),
    Planted(
        "nothing-more-too-early",
        "204 is answered one frame before the terminal one.",
        ("stream-refused",),
        (Edit(_PLACE, "done=feed.terminal and seq == feed.head", "done=feed.terminal and seq + 1 >= feed.head"),),
    ),
    Planted(
        "snapshot-skips-to-the-head",
        "After a snapshot the stream goes on at the feed's head, not where the snapshot ends.",
        ("delivery-gap", "clean-end"),
        (Edit("adapters.http.walk:Walk._snapshot", "self.reader.seq = snapshot.seq", "self.reader.seq = feed.head"),),
    ),
    Planted(
        "snapshot-names-a-later-seq",
        "A snapshot says that it holds the last frame, which it does not.",
        ("not-durable", "snapshot-wrong"),
        (Edit("adapters.http.walk:Walk._snapshot", '"seq": snapshot.seq}', '"seq": snapshot.seq + 1}'),),
    ),
    Planted(
        "reset-without-snapshot",
        "After a cursor was refused the stream goes on at the cursor all the same.",
        ("snapshot-missing", "delivery-gap", "not-served", "clean-end"),
        (Edit("adapters.http.walk:Walk.begin", "if place.reset is not None or wish.snapshot:", "if wish.snapshot:"),),
    ),
)

FRAMES: Final = (
    Planted(
        "frames-encoded-again",
        "Frames are written anew for readers, and other characters are escaped than in the log.",
        ("frame-altered",),
        (
            Edit(
                "adapters.http.sse:Encoder.blocks",
                "lines: Sequence[bytes | None] = record.data",
                'lines = tuple(line.decode().replace("ü", "\\\\u00fc").encode() for line in record.data)',
            ),
        ),
    ),
    Planted(
        "cursor-with-the-first-epoch",
        "After a change of hands the ids of frames keep the epoch that the encoder saw first.",
        ("frame-altered",),
        (Edit("adapters.http.sse:Encoder.blocks", "record.epoch != self._epoch", "self._epoch < 0"),),
    ),
    Planted(
        "retry-repeated",
        "Every piece of a stream carries `retry:`, not just the first.",
        ("retry-repeated",),
        (Edit(_PUSH, 'body, self.preamble = self.preamble + body, b""', "body = self.preamble + body"),),
    ),
    Planted(
        "retry-missing",
        "A stream does not tell its client when to come back.",
        ("retry-missing",),
        (
            Edit(
                "adapters.http.stream:Streams._reader",
                "sse.retry(self._broadcaster.times.retry_ms)",
                'b""',
            ),
        ),
    ),
    Planted(
        "keepalive-moves-the-cursor",
        "A keepalive counts as a frame.",
        ("delivery-gap", "not-served", "clean-end"),
        (
            Edit(
                "adapters.http.broadcaster:Broadcaster._tick",
                "elif reader.idle:\n",
                "elif reader.idle:\n        reader.seq += 1\n",
            ),
        ),
    ),
    Planted(
        "keepalive-with-an-id",
        "A keepalive is an event with an id, and so moves the cursor that a browser presents.",
        ("stream-malformed", "cursor-malformed"),
        (
            Edit(
                "adapters.http.broadcaster:Broadcaster._tick",
                "reader.push(sse.KEEPALIVE, ",
                'reader.push(b"event: keepalive\\nid: 0\\ndata: {}\\n\\n", ',
            ),
        ),
    ),
    Planted(
        "window-loses-its-first-record",
        "The window of a feed says that it begins one record earlier than it does.",
        ("delivery-gap",),
        (
            Edit("adapters.http.feed:Feed.accept", "self.start = oldest.last_seq + 1", "self.start = oldest.first_seq"),
            Edit(
                "adapters.http.feed:Feed.accept",
                "while self.head - self.start >= WINDOW_FRAMES_MAX or",
                "while (self.chunks and self.head - self.start >= WINDOW_FRAMES_MAX) or",
            ),
        ),
    ),
    Planted(
        "reader-skips-a-gap",
        "A feed takes a record although those before it have not arrived yet.",
        ("delivery-gap",),
        (Edit("adapters.http.feed:Feed.accept", "record.first_seq != self.head + 1", "record.first_seq <= self.head"),),
    ),
)

SESSIONS: Final = (
    Planted(
        "session-skips-a-run",
        "A session's stream passes over every other run.",
        ("delivery-gap", "not-served"),
        (Edit(_TO_NEXT, "after = (run.turn, run.attempt)", "after = (run.turn + 1, run.attempt)"),),
    ),
    Planted(
        "session-repeats-a-run",
        "A session's stream begins a run again that it has sent.",
        ("delivery-repeat",),
        (Edit(_TO_NEXT, "after = (run.turn, run.attempt)", "after = (run.turn, run.attempt - 1)"),),
    ),
    Planted(
        "session-ends-with-its-run",
        "A session's stream ends with the run it is at.",
        ("clean-end",),
        (
            Edit(
                _ADVANCE,
                "feed.terminal and seq == feed.head and reader.successor is None",
                "feed.terminal and seq == feed.head",
            ),
        ),
    ),
)

ENDS: Final = (
    Planted(
        "terminal-frame-dropped",
        "A stream ends without the bytes that carry the terminal frame.",
        ("clean-end",),
        (Edit(_ADVANCE, "reader.push(body, last=last,", 'reader.push(b"" if last else body, last=last,'),),
    ),
    Planted(
        "drain-looks-like-an-end",
        "A server that stops ends its streams without saying that only the connection is over.",
        ("clean-end",),
        (
            Edit(
                "adapters.http.broadcaster:Broadcaster.drain",
                'self.reconnect(reader, "draining")',
                'reader.finish(b"")',
            ),
        ),
    ),
    Planted(
        "trouble-looks-like-an-end",
        "A stream that can't begin, because the store is away, is an empty one.",
        ("clean-end",),
        (Edit("adapters.http.stream:Streams._later", "self._broadcaster.reconnect_block(reason)", 'b""'),),
    ),
    Planted(
        "trouble-is-a-refusal",
        "A stream that can't begin is refused with 503, after which a browser never comes back.",
        ("stream-refused",),
        (
            Edit(
                "adapters.http.stream:Streams._serve",
                'except StoreUnavailable:\n        await self._later(send, "unavailable")\n        return',
                "except StoreUnavailable:\n        raise",
            ),
        ),
    ),
    Planted(
        "feed-leaked",
        "A feed stays in memory after a reader that had everything was sent away.",
        ("leak",),
        (
            Edit(
                "adapters.http.stream:Streams._begin_run",
                "if place.done:\n        self._broadcaster.release(feed)",
                "if place.done:",
            ),
        ),
    ),
    Planted(
        "reader-leaked",
        "A reader that has gone is kept alive for ever.",
        ("leak",),
        (Edit("adapters.http.walk:Walk.stop", "self._broadcaster.leave(self.reader)", "pass"),),
    ),
    Planted(
        "session-leaked",
        "A session's stream that has gone still waits for the next turn.",
        ("leak",),
        (Edit("adapters.http.walk:Walk.stop", "self._forget()", "pass"),),
    ),
)

STREAMS: Final = (*RESUMES, *FRAMES, *SESSIONS, *ENDS)
