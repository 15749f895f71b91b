"""STIX 2.1 (OASIS standard, 10 June 2021) with TLP 2.0 markings as OASIS publishes them.

A finding is a campaign; what may be looked for are indicators; models and counts are observed data; limits and
innocent explanations are a note; the answer of whom it is about is an opinion. Ids are UUIDv5, so one case gives the
same bytes on every machine, and a withdrawn finding revokes what was shared before.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from stillwatch.cases.claims import answered
from stillwatch.cases.indicators import Shareable, Shared
from stillwatch.cases.leaving import kinds_of, models_of, public
from stillwatch.cases.sharing import Format, Imported, _said
from stillwatch.cases.sharing._bounded import check_own
from stillwatch.cases.sharing._ids import MADE, Ids, fixed, utc, version_of
from stillwatch.cases.sharing._tlp2 import EXTENSION as TLP_EXTENSION
from stillwatch.cases.sharing._tlp2 import MARKINGS
from stillwatch.extras import need
from stillwatch.records import Case, Finding, Indicator

EXTENSION = f"extension-definition--{fixed('extension', 'model-exchanges', '1')}"
FORMAT = Format(
    name="stix",
    title="STIX 2.1",
    media_type="application/stix+json;version=2.1",
    suffix=".json",
    reads=True,
    carries={
        "kind": "indicator.extensions.kind",
        "pattern": "indicator.pattern",
        "language": "indicator.pattern_type",
        "valid_from": "indicator.valid_from",
        "valid_until": "indicator.valid_until",
        "confidence": "indicator.confidence",
        "tlp": "indicator.object_marking_refs",
        "derived_from": "indicator.extensions.derived_from",
        "benign_hits": "indicator.extensions.benign_hits",
        "benign_of": "indicator.extensions.benign_of",
    },
    loses=("Tests and their e-values stand in the notes as words only.",),
)
REVOKED = {"revoked": True}
_SCHEMA = (
    "A property extension with any of these properties. On indicator: kind (string), derived_from (list of string: "
    "ids of findings or digests of documents), benign_hits and benign_of (integers: of benign_of honest accounts, "
    "benign_hits matched; 0 of 0 is not measured). On campaign: accounts, exchanges (integers, of groups of at least "
    "5), per_account_day (number), models and elicitation (dictionaries of integers: exchanges), finding (string)."
)


def write(case: Case, shared: Shared, *, producer: str) -> bytes:
    """A bundle of the findings that leave, with everything that a reader needs beside them."""
    stix2 = need("stix2")
    bundle = _Bundle(stix2, case, shared, producer)
    campaigns = {item.finding.id: bundle.finding(item) for item in shared.items}
    for after, before in _said.replaced(case, shared.items):
        bundle.relation("related-to", campaigns[after.id], campaigns[before.id])
    bundle.report()
    objects = bundle.objects
    whole = stix2.Bundle(
        id=f"bundle--{fixed('bundle', *sorted(o.serialize() for o in objects))}", objects=objects
    )
    text: str = whole.serialize(sort_keys=True, indent=2)
    data = text.encode() + b"\n"
    check_own(data, len(objects), "objects")
    return data


def read(data: bytes, *, source: str, at: str) -> Imported:
    """Indicators of a bundle, whoever made it."""
    from stillwatch.cases.sharing._stix_read import read_bundle

    return read_bundle(data, source=source, at=at, extension=EXTENSION)


class _Bundle:
    """Objects of one bundle while it is written: what they have in common, and their ids."""

    def __init__(self, stix2: ModuleType, case: Case, shared: Shared, producer: str) -> None:
        self.stix2, self.case, self.shared = stix2, case, shared
        self.ids = Ids(case, producer)
        self.created, self.modified = utc(case.opened_at), version_of(case, shared, producer)
        self.objects: list[Any] = []
        self.software: set[str] = set()
        definer = stix2.Identity(
            id=f"identity--{fixed('identity', 'stillwatch')}",
            created=MADE,
            modified=MADE,
            name="Stillwatch",
            description="The author of the extension for exchanges with a language model; not of this bundle.",
            identity_class="system",
        )
        definition = stix2.ExtensionDefinition(
            id=EXTENSION,
            created_by_ref=definer.id,
            created=MADE,
            modified=MADE,
            name="Exchanges with a language model",
            description="What STIX has no property for when accounts ask a language model for training material.",
            schema=_SCHEMA,
            version="1.0.0",
            extension_types=["property-extension"],
        )
        marking = MARKINGS[shared.tlp]
        self.marking = stix2.MarkingDefinition(
            id=marking.id,
            created=marking.created,
            name=shared.tlp,
            extensions={TLP_EXTENSION: {"extension_type": "property-extension", "tlp_2_0": marking.value}},
        )
        self.producer = stix2.Identity(
            id=f"identity--{fixed('identity', 'producer', producer)}",
            created=MADE,
            modified=MADE,
            name=producer,
            identity_class="organization",
        )
        self.objects += [definer, definition, self.marking, self.producer]
        self.action = self.add("CourseOfAction", "action", name="Look, ask, and decide by a person",
                               description=_said.ACTION)  # fmt: skip

    def add(self, kind: str, *parts: str, **values: Any) -> Any:
        """One object, with what all of them have; its id follows from `parts`."""
        made = getattr(self.stix2, kind)
        found = made(
            id=f"{made._type}--{self.ids.of(kind, *parts)}",
            created_by_ref=self.producer.id,
            created=self.created,
            modified=self.modified,
            object_marking_refs=[self.marking.id],
            **values,
        )
        self.objects.append(found)
        return found

    def relation(self, kind: str, source: Any, target: Any, **more: Any) -> None:
        self.add(
            "Relationship",
            kind,
            source.id,
            target.id,
            relationship_type=kind,
            source_ref=source.id,
            target_ref=target.id,
            **more,
        )

    def finding(self, item: Shareable) -> Any:
        """A finding as a campaign, and everything that is said of it."""
        finding, revoked = item.finding, REVOKED if item.withdrawal else {}
        first, last = _said.day_bounds(finding)
        back = _said.taken_back(self.case, self.shared, item)
        campaign = self.add(
            "Campaign",
            finding.id,
            name=finding.subject,
            description=f"{back} {_said.claimed(finding, self.shared)}".strip(),
            first_seen=first,
            last_seen=last,
            external_references=[
                {"source_name": "mitre-atlas", "external_id": i, "description": f"{title}: {why}"}
                for i, title, why in _said.techniques(finding)
            ],
            extensions={EXTENSION: _facts(finding)},
            **revoked,
        )
        observed = self.observed(finding, revoked)
        for indicator in item.indicators:
            made = self.indicator(indicator, revoked)
            self.relation("indicates", made, campaign, **revoked)
            self.relation("based-on", made, observed, **revoked)
            self.relation("investigates", self.action, made, **revoked)
        limits = _said.standing(finding, self.shared)
        self.note("limits", finding, "Innocent explanations and limits", limits, campaign)
        if back:
            self.note("withdrawal", finding, "No longer stands", back, campaign)
        self.questions(finding, campaign)
        for answer in _said.answers(self.case, finding):
            self.add(
                "Opinion",
                finding.id,
                answer.id,
                # The vocabulary has no "in its own words", and only a person can say whether it denies the claim.
                opinion="disagree" if answer.id in self.shared.options.get("disputed", ()) else "neutral",
                explanation=f"In its own words, which nobody scored: {_said.statement(answer, self.shared)}",
                authors=[_said.party(answer.party, self.shared)],
                object_refs=[campaign.id],
            )
        return campaign

    def questions(self, finding: Finding, campaign: Any) -> None:
        """A note for each question that was ever put; it is revoked once it is answered, or put again."""
        latest = _said.asked(self.case, finding)
        heard = {a.party for a in _said.answers(self.case, finding)}
        for n, asked in enumerate(self.case.asked):
            if asked.finding not in ("", finding.id) and asked not in latest:
                continue
            open_ = asked in latest and (asked.party not in heard or not answered(self.case, asked))
            told = _said.silence(self.case, asked, self.shared)
            self.note(f"asked {n}", finding, "Asked to answer", told, campaign, **({} if open_ else REVOKED))

    def note(
        self, about: str, finding: Finding, abstract: str, content: str, campaign: Any, **more: Any
    ) -> None:
        refs = [campaign.id]
        self.add("Note", about, finding.id, abstract=abstract, content=content, object_refs=refs, **more)

    def observed(self, finding: Finding, revoked: dict[str, bool]) -> Any:
        """How many exchanges went to which models; never from whom."""
        first, last = _said.day_bounds(finding)
        names = list(dict(models_of(finding))) or ["a language model"]
        software = [self.stix2.Software(name=name, object_marking_refs=[self.marking.id]) for name in names]
        self.objects += [s for s in software if s.id not in self.software]
        self.software.update(s.id for s in software)
        return self.add(
            "ObservedData",
            finding.id,
            first_observed=first,
            last_observed=last,
            number_observed=min(max(int(finding.details.get("exchanges") or 1), 1), 999_999_999),
            object_refs=[s.id for s in software],
            **revoked,
        )

    def indicator(self, indicator: Indicator, revoked: dict[str, bool]) -> Any:
        return self.add(
            "Indicator",
            str(self.ids.indicator(indicator)),
            name=indicator.kind,
            description=_said.described(indicator),
            indicator_types=["anomalous-activity"],
            pattern=indicator.pattern,
            pattern_type=indicator.language,
            pattern_version="2.1" if indicator.language == "stix" else "1",
            valid_from=indicator.valid_from,
            valid_until=indicator.valid_until,
            confidence=indicator.confidence,
            extensions={
                EXTENSION: {
                    "extension_type": "property-extension",
                    "kind": indicator.kind,
                    "derived_from": list(indicator.derived_from),
                    "benign_hits": indicator.benign_hits,
                    "benign_of": indicator.benign_of,
                }
            },
            **revoked,
        )

    def report(self) -> None:
        """One object that holds the bundle together."""
        inside = [o.id for o in self.objects if o.id not in (self.marking.id, self.producer.id)]
        self.add(
            "Report",
            *self.shared.options.get("findings", ()),
            name=public(self.case.title, self.shared.parties) or self.case.id,
            description=(
                f"Findings of case {self.case.id} about accounts that act as one and harvest a language model. "
                f"{_said.MEANING}"
            ),
            report_types=["campaign", "indicator"],
            published=self.modified,
            object_refs=inside,
        )


def _facts(finding: Finding) -> dict[str, Any]:
    facts = finding.details
    first, last = _said.day_bounds(finding)
    exchanges = int(facts.get("exchanges") or 0)
    return {
        "extension_type": "property-extension",
        "finding": finding.id,
        "accounts": int(facts["accounts"]),
        "exchanges": exchanges,
        "per_account_day": round(exchanges / int(facts["accounts"]) / ((last - first).days + 1), 1),
        "models": dict(models_of(finding)),
        "elicitation": dict(kinds_of(finding)),
    }
