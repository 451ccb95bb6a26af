"""One example of every request and answer, for the interface's description. Tests hold them to the
models they stand for.
"""

from __future__ import annotations

from typing import Any

_ID = "0198c0de-0000-7000-8000-00000000000{}".format
_AT = "2026-03-02T15:04:05Z"
_CODE = {
    "code": "success", "label": "Success", "contact": True, "effective": True, "success": True,
    "refusal": False, "complaint": False, "callback": False, "final": True, "do_not_call": False,
    "retry_delay": 86400.0,
}  # fmt: skip
_SETTINGS = {
    "mode": "progressive", "caller_id": "+12125550199", "rules_profile": "us_tsr",
    "ring_timeout": 25.0, "connect_window": 2.0, "wrap_up": 60.0, "max_attempts": 6,
}  # fmt: skip
_CALL = {
    "id": _ID(1), "campaign_id": _ID(2), "customer_id": _ID(3), "number": "+12125550100",
    "mode": "progressive", "trunk": "carrier", "outcome": "ended_by_customer",
    "intended_at": _AT, "answered_at": "2026-03-02T15:04:12Z",
    "connected_at": "2026-03-02T15:04:12.004Z", "ended_at": "2026-03-02T15:06:40Z",
    "agent_id": _ID(4), "disposition": "success", "note": "sends the form",
    "rules_profile": "us_tsr@1",
    "verdict": {
        "verdict": "allow", "profile": "us_tsr@1", "zones": ["America/New_York"],
        "zone_from": "number", "region": "US", "purpose": "service", "mode": "progressive",
        "caller_id": "+12125550199", "consent": False, "attempts": 0, "last": None,
    },
}  # fmt: skip
_LIST = {
    "id": _ID(5), "campaign_id": _ID(2), "name": "march", "created_at": _AT, "leads": 1200,
}  # fmt: skip

_WEBHOOK = {
    "id": "0198c0de-0000-7000-8000-000000000010", "url": "https://crm.example.com/hooks/dialer",
    "description": "CRM", "events": ["call.concluded", "disposition.set"], "enabled": True,
    "disabled_reason": "", "failing_since": None, "rests_until": None, "created_at": _AT,
}  # fmt: skip
_DELIVERY = {
    "id": "0198c0de-0000-7000-8000-000000000011",
    "event_id": "0c1b5f0e-5a2f-5d4e-9a7b-3f1de2c4b5a6", "type": "disposition.set", "at": _AT,
    "state": "delivered", "tries": 2, "next_at": None, "tried_at": "2026-03-02T15:04:11Z",
    "delivered_at": "2026-03-02T15:04:11Z", "last_status": 204, "last_error": "",
}  # fmt: skip
_DISPOSITION_SET = {
    "type": "disposition.set", "timestamp": _AT,
    "data": {
        "call_id": _ID(1), "campaign_id": _ID(2), "lead_id": _ID(9), "customer_id": _ID(3),
        "agent_id": _ID(4), "code": "success", "at": _AT, "wrap_up_seconds": 12.5,
    },
}  # fmt: skip


def _future(occupancy: float, abandoned: float, rate: float) -> dict[str, Any]:
    def figure(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": round(mean * 0.97, 4), "high": round(mean * 1.03, 4)}

    return {
        "occupancy": figure(occupancy), "idle": figure(5.6), "wait": figure(0.08),
        "answers": figure(1320.0), "abandoned": figure(abandoned), "abandon_rate": figure(rate),
        "calls": figure(4280.0), "given_up": figure(410.0), "finish": figure(8400.0),
    }  # fmt: skip


#: By the name of the model.
EXAMPLES: dict[str, Any] = {
    "SignIn": {"login": "admin", "password": "correct horse battery"},
    "Token": {"token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "expires_in": 28800},
    "Me": {
        "id": _ID(6), "login": "ines", "role": "quality", "client_id": _ID(7),
        "scopes": ["calls", "recordings"],
    },
    "NewAccount": {"login": "ines", "password": "correct horse battery", "role": "quality"},
    "ChangedAccount": {"disabled": True},
    "Account": {"id": _ID(6), "login": "ines", "role": "quality", "disabled": False},
    "NewClient": {"name": "Example Energy"},
    "Client": {"id": _ID(7), "name": "Example Energy", "created_at": _AT},
    "Pool": {"id": _ID(8), "name": "default"},
    "Entry": {
        "at": _AT, "who": "ines", "action": "recording.read", "details": {"call_id": _ID(1)},
    },
    "NewCampaign": {"name": "Spring", "settings": _SETTINGS, "dispositions": [_CODE]},
    "ChangedCampaign": {"settings": {**_SETTINGS, "wrap_up": 30.0}},
    "Campaign": {
        "id": _ID(2), "name": "Spring", "state": "running", "reason": "", "version": 2,
        "pool_id": _ID(8), "settings": _SETTINGS, "dispositions": [_CODE], "created_at": _AT,
    },
    "Version": {
        "version": 2, "settings": _SETTINGS, "dispositions": [_CODE], "created_at": _AT,
    },
    "UsedDispositions": {"items": [{**_CODE, "used": 41}]},
    "CampaignCounts": {
        "outcomes": {"ended_by_customer": 41, "no_answer": 112, "open": 3},
        "leads": {"new": 900, "dialing": 3, "retry": 110, "done": 187},
        "abandoned": 1,
    },
    "PacingDecision": {
        "at": _AT, "node": "asterisk", "settings_version": 2, "calls": 9, "cancelled": 1,
        "binding": "risk",
        "reason": "2 calls for 1 free agent (14 under way): within 10 s 3.1 people should answer "
                  "and 3.9 agents be free; one more would cost 0.08 abandoned calls per answer, "
                  "and 0.07 is what the budget pays (goal 2.9%, 11 more may be abandoned)",
        "agents": 1, "in_flight": 14, "waiting": 0, "theta": 0.0712, "price": 0.0811,
        "goal": 0.029, "budget_left": 11.4, "expected_answers": 3.1, "expected_free": 3.9,
        "answer_share": 0.31,
    },
    "AskedForecast": {"target_abandon": 0.02, "minutes": 30},
    "Forecast": {
        "minutes": 30, "runs": 10, "attempts": 1000,
        "parameters": {"answer_share": 0.31, "fails_at_once": 0.05, "rings": 11.6, "talk": 120.2,
                       "wrap_up": 15.1, "machines": 0.0},
        "current": _future(0.96, 41.0, 0.031), "changed": _future(0.951, 26.0, 0.02),
        "difference": _future(-0.009, -15.0, -0.011),
    },
    "Upload": {
        "name": "march", "region": "US",
        "leads": [
            {"number": "(212) 555-0100", "name": "Ada Example", "external_key": "c-1",
             "zone": "America/New_York", "consent": True, "attributes": {"balance": 12.5}},
            {"number": "no number"},
        ],
    },
    "Uploaded": {
        "list_id": _ID(5), "accepted": 1,
        "rejected": [{"row": 1, "reason": "number: only digits, +, spaces and -()./ may be used"}],
        "campaign_state": "running",
    },
    "LeadList": _LIST,
    "LeadListInFull": {**_LIST, "states": {"new": 900, "retry": 110, "done": 190}},
    "Customer": {
        "id": _ID(3), "name": "Ada Example", "external_key": "c-1", "zone": "America/New_York",
        "consent": True, "attributes": {"balance": 12.5}, "numbers": ["+12125550100"],
        "created_at": _AT,
    },
    "ChangedCustomer": {"zone": "America/Chicago", "consent": True},
    "Lead": {
        "id": _ID(9), "campaign_id": _ID(2), "list_id": _ID(5), "customer_id": _ID(3),
        "name": "Ada Example", "number": "+12125550100", "state": "callback", "reason": "",
        "next_at": "2026-03-04T10:00:00Z", "callback_agent": _ID(4), "position": 17,
    },
    "AgreedTime": {"at": "2026-03-04T10:00:00+01:00", "agent_id": _ID(4)},
    "NewAgent": {
        "name": "Bo Agent", "endpoint": "bo", "login": "bo", "password": "correct horse battery",
        "campaigns": [_ID(2)],
    },
    "ChangedAgent": {"disabled": True},
    "Agent": {
        "id": _ID(4), "name": "Bo Agent", "endpoint": "bo", "node": "ast1", "login": "bo",
        "disabled": False, "campaigns": [_ID(2)], "phone_password": None,
    },
    "Assignment": {"campaigns": [_ID(2)]},
    "Call": _CALL,
    "CallInFull": {
        **_CALL, "lead_id": _ID(9), "caller_id": "+12125550199", "node": "ast1",
        "sent_at": _AT, "ringing_at": "2026-03-02T15:04:06Z", "message_played": False,
        "cause": 16, "tech_cause": "", "ended_by": "customer", "form": {"size": "large"},
        "wrap_up_seconds": 12.5, "settings_version": 2, "script_version": 0, "form_version": 0,
    },
    "Blocked": {"number": "+12125550100"},
    "BlockedNumber": {"number": "+12125550100", "source": "agent", "at": _AT},
    "Added": {"number": "+12125550100"},
    "Checked": {"number": "+12125550100", "blocked": True, "since": _AT},
    "Recording": {
        "call_id": _ID(1), "campaign_id": _ID(2), "state": "stored", "size": 1184044,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "at": _AT,
    },
    "Address": {
        "address": f"/api/v1/recordings/{_ID(1)}/sound?signature=eyJ...", "expires_in": 300,
    },
    "NewWebhook": {
        "url": "https://crm.example.com/hooks/dialer", "description": "CRM",
        "events": ["call.concluded", "disposition.set"],
    },
    "ChangedWebhook": {"enabled": False},
    "Webhook": _WEBHOOK,
    "WebhookWithSecret": {
        **_WEBHOOK, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "old_secret_until": None,
    },
    "Delivery": _DELIVERY,
    "DeliveryInFull": {**_DELIVERY, "event": _DISPOSITION_SET},
    "Again": {"since": "2026-03-01T00:00:00Z"},
    "SentAgain": {"deliveries": 17},
    "CallConcluded": {
        "type": "call.concluded", "timestamp": _CALL["ended_at"],
        "data": {
            **{key: _CALL[key] for key in (
                "id", "campaign_id", "customer_id", "agent_id", "mode", "trunk", "outcome",
                "intended_at", "answered_at", "connected_at", "ended_at",
            )},
            "lead_id": _ID(9), "ended_by": "customer",
        },
    },
    "DispositionSet": _DISPOSITION_SET,
    "CallbackMade": {
        "type": "callback.made", "timestamp": _AT,
        "data": {
            "lead_id": _ID(9), "campaign_id": _ID(2), "customer_id": _ID(3),
            "due_at": "2026-03-04T09:00:00Z", "agent_id": _ID(4),
        },
    },
    "CampaignStateChanged": {
        "type": "campaign.state_changed", "timestamp": _AT,
        "data": {
            "campaign_id": _ID(2), "name": "Spring", "before": "running", "state": "finished",
            "reason": "every lead is done",
        },
    },
    "RecordingStored": {
        "type": "recording.stored", "timestamp": _AT,
        "data": {
            "call_id": _ID(1), "campaign_id": _ID(2), "lead_id": _ID(9), "customer_id": _ID(3),
            "size": 1184044,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
    },
    "WebhookTest": {
        "type": "webhook.test", "timestamp": _AT,
        "data": {"webhook_id": "0198c0de-0000-7000-8000-000000000010", "description": "CRM"},
    },
    "Live": {
        "pools": [{
            "at": _AT, "pool": _ID(8), "agents": {"ready": 3, "on_call": 7},
            "longest": {"ready": 4.2, "on_call": 310.0}, "calls": {"ringing": 6, "connected": 7},
            "waiting": {"persons": 0, "longest": 0.0}, "occupancy": 0.71,
            "campaigns": [{
                "id": _ID(2), "name": "Spring", "state": "running", "reason": "",
                "mode": "progressive", "outcomes": {"ended_by_customer": 41}, "attempts": 153,
                "live_answers": 42, "abandoned": 1, "abandon_low": 0.004, "abandon_high": 0.123,
                "abandon_cap": 0.01, "abandon_hours": 24.0,
                "leads": {"total": 1100, "due": 900, "later": 40, "dialing": 13, "callback": 3,
                          "done": 147, "blocked": 0},
                "next_due": _AT, "calls_per_minute": 31,
                "recent": [{"call": _ID(1), "at": _AT, "agent": "Ada", "waited": 0.003,
                            "talked": 184.2, "outcome": "ended_by_customer"}],
                "decision": {"calls": 2, "reason": "no more lines are free"},
            }],
            "trunks": [{"name": "carrier", "node": "ast1", "up": True, "lines": 60, "used": 13,
                        "breaker": "closed", "reason": ""}],
            "nodes": [{"name": "ast1", "up": True}], "calls_per_minute": 31,
            "answer_to_bridge_ms": {"p50": 3.1, "p99": 8.7},
        }],
    },
    "Alive": {"status": "ok"},
    "Ready": {"status": "ok", "checks": {"database": "ok", "nodes": "ok"}},
}  # fmt: skip
