"""A decision in plain words: what, why, what it spares, when it ends, how to undo it.

In: ``Decision`` or ``Refusal``, and the ``Incident`` that it answers. Out: text in English, no markup.
Must never: repeat a string that an attacker chose.
"""

from __future__ import annotations

from typing import Final

from thingwarden.domain.incident import Incident
from thingwarden.domain.response import Act, Decision, Proposal, Refusal

_VERBS: Final = {
    Act.NOTIFY: "Tell the owner about {device}.",
    Act.RATE_LIMIT: "Limit {target} to {rate} packets a second.",
    Act.BLOCK_FLOW: "Block {target}.",
    Act.SINKHOLE: "Answer DNS questions for {target} with nothing.",
    Act.MQTT_DENY: "Deny {target}.",
    Act.BLOCK_PEER: "Block {peer} for every device.",
    Act.QUARANTINE: "Quarantine {device}.",
    Act.ISOLATE: "Cut {device} off.",
}

_SPARED: Final = {
    Act.NOTIFY: "No traffic is touched.",
    Act.RATE_LIMIT: "All other traffic of {device} goes on, and what is limited still passes slowly.",
    Act.BLOCK_FLOW: "All other traffic of {device} goes on.",
    Act.SINKHOLE: "All other names still resolve.",
    Act.MQTT_DENY: "All other clients of the broker go on.",
    Act.BLOCK_PEER: "{device} itself is not restricted.",
    Act.QUARANTINE: "{device} still reaches the gateway, DNS and time; every other device goes on.",
    Act.ISOLATE: "Every other device goes on.",
}


def describe_act(order: Decision | Proposal, incident: Incident) -> str:
    """What would be done, in one sentence."""
    return _VERBS[order.act].format(**_words(order, incident))


def explain_decision(decision: Decision, incident: Incident) -> str:
    """Plain sentences: what, why, what tells it most if that is known, what it spares, when it ends, how to undo it."""
    approval = f" {decision.approved_by} approved it." if decision.approved_by else ""
    return (
        f"{describe_act(decision, incident)} "
        f"Because {incident.summary}. {_told_by(incident)}{decision.reason}{approval} "
        f"{_SPARED[decision.act].format(**_words(decision, incident))} "
        f"It ends by itself at {decision.expires_at:%Y-%m-%d %H:%M:%S} UTC; "
        f"undo it earlier by revoking decision {decision.decision_id}."
    )


def explain_refusal(refusal: Refusal, incident: Incident) -> str:
    """What was not done, why not, and whether a person may order it all the same."""
    wish = describe_act(refusal.proposal, incident).removesuffix(".")
    outlook = "A person may approve it." if refusal.can_approve else "Nobody can approve it."
    return f"Not done: {wish}. Because {'; '.join(refusal.reasons)}. {outlook}"


def _told_by(incident: Incident) -> str:
    texts = [reason.text for reason in incident.reasons if reason.attack_class is incident.attack_class]
    return f"What tells it most: {'; '.join(texts)}. " if texts else ""


def _words(order: Decision | Proposal, incident: Incident) -> dict[str, str]:
    target = order.target
    return {
        "device": incident.device.name,
        "target": str(target),
        "peer": str(target.peer),
        "rate": str(target.packets_per_s),
    }
