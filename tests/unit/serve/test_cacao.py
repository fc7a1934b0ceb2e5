"""The export is a CACAO 2.0 playbook in which every step can be reached and every rule is found."""

from __future__ import annotations

from typing import Any

import jsonschema

from thingwarden.domain.response import Act
from thingwarden.respond.playbook import load_playbook
from thingwarden.respond.rules import PolicySettings
from thingwarden.serve.cacao import encode_cacao

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"


def reference(kind: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{kind}--{UUID}"}


STEPS = {
    "start": {"required": ["on_completion"]},
    "end": {},
    "action": {
        "required": ["commands", "agent"],
        "properties": {
            "commands": {
                "type": "array",
                "minItems": 1,
                "items": {"required": ["type", "command"], "properties": {"type": {"const": "manual"}}},
            },
            "agent": reference("individual"),
        },
    },
    "if-condition": {"required": ["condition", "on_true"]},
    "switch-condition": {"required": ["switch", "cases"]},
}
"""What the specification, sections 4 to 5, demands of a playbook and of each kind of step that is used."""

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": [
        "type",
        "spec_version",
        "id",
        "name",
        "created_by",
        "created",
        "modified",
        "workflow_start",
        "workflow",
    ],
    "properties": {
        "type": {"const": "playbook"},
        "spec_version": {"const": "cacao-2.0"},
        "id": reference("playbook"),
        "created_by": reference("identity"),
        "created": {"type": "string", "pattern": "^[0-9-]{10}T[0-9:]{8}[.][0-9]{3}Z$"},
        "workflow_start": reference("start"),
        "playbook_variables": {
            "patternProperties": {"^__[a-z_]+__$": {"required": ["type"]}},
            "additionalProperties": False,
        },
        "workflow": {
            "propertyNames": {"pattern": f"^({'|'.join(STEPS)})--{UUID}"},
            "additionalProperties": {
                "required": ["type"],
                "oneOf": [{"properties": {"type": {"const": kind}}, **rest} for kind, rest in STEPS.items()],
            },
        },
    },
}


def test_it_has_the_form_that_the_specification_demands() -> None:
    jsonschema.validate(encode_cacao(load_playbook(), PolicySettings()), SCHEMA)


def test_every_step_is_reached_and_every_reference_leads_somewhere() -> None:
    data = encode_cacao(load_playbook(), PolicySettings())
    steps, reached, pending = data["workflow"], set(), [data["workflow_start"]]
    while pending:
        name = pending.pop()
        if name in reached:
            continue
        reached.add(name)
        step = steps[name]
        pending += [step[key] for key in ("on_completion", "on_true") if key in step]
        pending += list(step.get("cases", {}).values())
    assert reached == set(steps)
    agents = {step["agent"] for step in steps.values() if step["type"] == "action"}
    assert agents == set(data["agent_definitions"])


def test_every_act_of_the_playbook_says_its_end_and_whether_a_person_must_approve() -> None:
    data = encode_cacao(load_playbook(), PolicySettings(automatic_up_to=Act.RATE_LIMIT, max_ttl_s=600.0))
    actions = [step for step in data["workflow"].values() if step["type"] == "action"]
    assert {step["name"] for step in actions} == {rule.act.value for rule in load_playbook().rules}
    for step in actions:
        assert "It ends after 600 seconds." in step["description"]
        needs_person = Act(step["name"]).severity > Act.RATE_LIMIT.severity
        assert ("A person must approve it." in step["description"]) is needs_person


def test_equal_rules_give_equal_bytes_and_other_rules_another_id() -> None:
    first, again = (encode_cacao(load_playbook(), PolicySettings()) for _ in range(2))
    assert first == again
    assert encode_cacao(load_playbook(), PolicySettings(max_ttl_s=60.0))["id"] != first["id"]
