"""The library's own test case of recorders, with what ours promise besides. It has no store: it is not collected."""

from eventsourcing.persistence import StoredEvent
from eventsourcing.tests.persistence import ApplicationRecorderTestCase

from reattach.infrastructure.codec import OUTPUT_TOPIC
from reattach.infrastructure.eventstore.recorder import Recorder


class RecorderCase(ApplicationRecorderTestCase[Recorder]):
    """`recorder` is the one under test."""

    recorder: Recorder

    def create_recorder(self) -> Recorder:
        return self.recorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()

    def test_output_is_not_in_the_feed(self) -> None:
        stream = self.new_originator_id()
        events = [StoredEvent(stream, n, topic, b"s") for n, topic in enumerate(("a", OUTPUT_TOPIC, "b"), 1)]
        assert self.recorder.insert_events(events) == [1, 2]
        assert [n.originator_version for n in self.recorder.select_notifications(1, 9)] == [1, 3]
        assert [e.originator_version for e in self.recorder.select_events(stream)] == [1, 2, 3]
        assert [e.originator_version for e in self.recorder.select_events(stream, facts=True)] == [1, 3]
