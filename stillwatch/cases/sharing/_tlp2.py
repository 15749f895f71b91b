"""The five TLP 2.0 markings with the ids that OASIS publishes for STIX 2.1.

Source: oasis-open/cti-stix-common-objects, extension-definition-specifications/tlp-2.0. A marking has a name and the
extension, and no `definition`: the four markings of TLP 1.0 in the standard itself are other objects, and
TLP:AMBER+STRICT and TLP:CLEAR are not among them.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillwatch.records import TLP

EXTENSION = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"


@dataclass(frozen=True, slots=True)
class Marking:
    """One marking-definition; `value` is what the extension calls it."""

    id: str
    value: str
    created: str = "2022-10-01T00:00:00.000Z"


MARKINGS: dict[TLP, Marking] = {
    "TLP:CLEAR": Marking("marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487", "clear"),
    "TLP:GREEN": Marking("marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb", "green"),
    "TLP:AMBER": Marking("marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421", "amber"),
    "TLP:AMBER+STRICT": Marking("marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003", "amber+strict"),
    "TLP:RED": Marking("marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1", "red"),
}
FIRST_EDITION: dict[str, TLP] = {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "TLP:CLEAR",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "TLP:GREEN",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "TLP:AMBER",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "TLP:RED",
}
"""Markings of TLP 1.0 that bundles still carry, as the label of TLP 2.0 that took their place."""
