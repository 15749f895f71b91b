"""The columns of every table, once.

RAW is what a reader hands over: real identifiers and text, in memory only. EXCHANGES is what is kept: integers,
keyed pseudonyms, no text. Names follow OpenTelemetry GenAI where it has one. Times are microseconds since
1970-01-01 UTC in int64 and are always the event's own; no step looks at the clock.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 2

MIGRATIONS = {
    2: "exchanges.opening_digest: the first user text of a conversation; null in exchanges of version 1"
}
"""What each version changed. Columns only come, so an older file is read with nulls in their place."""

_text, _i64, _i32, _f64, _bool = pa.string(), pa.int64(), pa.int32(), pa.float64(), pa.bool_()

RAW = pa.schema(
    [
        ("record_id", _text),  # the log's own id of the call, if any
        ("time", _i64),  # microseconds; required
        ("account", _text),  # required
        ("credential", _text),
        ("organization", _text),
        ("end_user", _text),
        ("conversation", _text),
        ("client_address", _text),
        ("client_asn", _i64),
        ("client_agent", _text),
        ("tls_fingerprint", _text),
        ("route", _text),  # native, cloud or aggregator
        ("operation", _text),  # chat, text_completion, embeddings, ...
        ("request_model", _text),
        ("response_model", _text),
        ("temperature", _f64),
        ("top_p", _f64),
        ("max_tokens", _i64),
        ("n_choices", _i64),
        ("logprobs", _bool),
        ("input_tokens", _i64),
        ("output_tokens", _i64),
        ("reasoning_tokens", _i64),
        ("finish_reason", _text),
        ("status_code", _i64),
        ("refused", _bool),
        ("reasoning_visible", _bool),
        ("signatures_minted", pa.list_(_text)),
        ("signatures_presented", pa.list_(_text)),
        ("tool_schema", _text),  # tool definitions as JSON text
        ("system", _text),  # system instructions
        ("prompt", _text),  # all user texts of the request, oldest first, joined by one newline
        ("opening", _text),  # the first user text of the request's conversation, whole
        ("turns", _i64),  # user messages in the request; 1 is a first question
        ("latency_ms", _f64),
        ("marks", pa.list_(_text)),
        ("source_line", _i64),  # 1-based line (or row, or span) in the source file
    ]
)

EXCHANGES = pa.schema(
    [
        ("exchange_id", _i64),
        ("time", _i64),
        ("account_id", _i64),
        ("credential_id", _i64),
        ("organization_id", _i64),
        ("end_user_id", _i64),
        ("conversation_id", _i64),
        ("client_prefix", _i64),  # pseudonym of the /24 or /48
        ("client_asn", _i64),
        ("client_agent", _i64),
        ("tls_fingerprint", _i64),
        ("route", _text),
        ("operation", _text),
        ("request_model", _text),
        ("response_model", _text),
        ("temperature", _f64),
        ("top_p", _f64),
        ("max_tokens", _i64),
        ("n_choices", _i64),
        ("logprobs", _bool),
        ("input_tokens", _i64),
        ("output_tokens", _i64),
        ("reasoning_tokens", _i64),
        ("finish_reason", _text),
        ("status_code", _i64),
        ("refused", _bool),
        ("reasoning_visible", _bool),
        ("signatures_minted", pa.list_(_i64)),
        ("signatures_presented", pa.list_(_i64)),
        ("tool_schema_digest", _i64),
        ("system_digest", _i64),
        ("template_digest", _i64),
        ("prompt_digest", _i64),
        ("opening_digest", _i64),  # of the conversation's first user text, as it was sent
        ("shingles", pa.list_(_i64)),  # distinct, of system and prompt together
        ("minhash", pa.list_(_i32)),
        ("elicitation", _i32),  # bit set, see stillwatch.text.sketch.ELICITATION
        ("prompt_bytes", _i32),
        ("turns", _i32),
        ("latency_ms", _f64),
        ("marks", pa.list_(_text)),
        ("source_file", _text),
        ("source_line", _i64),
    ]
)

ACCOUNTS = pa.schema(
    [
        ("account_id", _i64),
        ("organization_id", _i64),
        ("created_at", _i64),
        ("plan", _text),
        ("payment_token", _i64),
        ("card_type", _text),
        ("email_class", _text),
        ("device_token", _i64),
        ("signup_prefix", _i64),
        ("verification_level", _text),
        ("contract_volume", _f64),
        ("exemption", _text),
        ("exemption_reason", _text),
    ]
)

ACTIONS = pa.schema(
    [
        ("account_id", _i64),
        ("time", _i64),
        ("rung", _text),
        ("reason", _text),
        ("expires_at", _i64),
        ("reversed_at", _i64),
    ]
)
