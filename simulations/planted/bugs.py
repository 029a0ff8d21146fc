"""The planted bugs."""

from typing import Final

from .edit import Edit, Planted

BUGS: Final = (
    Planted(
        "resume-one-too-far",
        "A resume skips the first frame after its cursor.",
        ("delivery-gap",),
        (
            Edit(
                "adapters.http.walk:Walk.begin",
                "reader.seq = place.seq\n",
                "reader.seq = place.seq + (place.seq > 0)\n",
            ),
        ),
    ),
)
