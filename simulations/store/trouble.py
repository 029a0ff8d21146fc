"""What may go wrong between a process and the store, in numbers."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Trouble:
    """What may go wrong between a process and the store: probabilities, and seconds a step of lateness takes."""

    write_s: float = 0.0005
    late_s: float = 0.0
    density: float = 0.3
    late_reads: bool = False
    lost_p: float = 0.0
    unknown_p: float = 0.0
    unread_p: float = 0.0
    stall_p: float = 0.0
    crash_p: float = 0.0
    punctual_p: float = 0.0
    wake_lost_p: float = 0.0
    wake_twice_p: float = 0.0
    wake_late_s: float = 0.0
    late_until: float = 0.0
    """When the last of what is late by now will have come."""

    def end(self) -> None:
        """From now on nothing new goes wrong."""
        for name, value in asdict(Trouble(late_until=self.late_until)).items():
            setattr(self, name, value)
