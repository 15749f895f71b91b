"""Pairs of request and response as OpenAI's API has them, one JSON object a line.

``{"request": {...}, "response": {...}}``; ``body`` for ``request``, and the batch API's ``response.body``, are fine,
and so are the message, prompt and input forms of chat completions, legacy completions and the responses API, as well as
Anthropic's messages. Beside the pair may stand: a time (``time``, ``timestamp``, ``created_at``, ``created``, else the
response's own), ``account``, ``account_id`` or ``user_id``, ``api_key_id`` or ``api_key_hash``, ``organization_id``,
``ip``, ``user_agent``, ``session_id``, ``latency_ms``, ``status_code``. The account is the first of: account fields,
the request's ``user``, ``safety_identifier`` or ``metadata.user_id``, the id of the API key.
"""

from __future__ import annotations

import re

from stillwatch.logs.readers import _json, _pair

NAME = "openai"
TITLE = "OpenAI-style request and response pairs, one JSON object a line"
INPUT = "lines"

_COLUMNS = {
    **_pair.ENVELOPE,
    **_pair.CALL,
    "operation": """case when contains(coalesce(o.url, o.endpoint, ''), 'embedding') then 'embeddings'
         when r.object = 'text_completion' or (q.messages is null and q.input is null and q.prompt is not null)
             then 'text_completion'
         else 'chat' end""",
    "status_code": """coalesce(o.status_code, batch_status, try_cast(sw_text(o.status) as bigint),
             case when json_type(coalesce(o.error, r.error)) = 'OBJECT' then 500
                  when res_json is not null then 200 end)""",
    "problem": """case when req_json is null and res_json is null
        then 'neither a request nor a response object' end""",
}

SQL = f"""
with outer_fields as (
    select source_line, line, json_transform(line, {_json.shape(_pair.OUTER)}) as o from lines
), objects as (
    select *, sw_object(o.request) as request, sw_object(o.response) as response, sw_object(o.body) as body
    from outer_fields
), halves as (
    select source_line, line, o,
        coalesce(sw_object(json_extract(request, '$.body')), request, body) as req_json,
        coalesce(sw_object(json_extract(response, '$.body')), response) as res_json,
        try_cast(json_extract_string(response, '$.status_code') as bigint) as batch_status
    from objects
), {_pair.CALLS}
select
    {_json.columns(_COLUMNS)}
from calls
"""


def sniff(sample: bytes, name: str) -> float:
    """How surely this is such a log: 0 to 1."""
    if not re.search(rb'"(request|body|response)"\s*:\s*[{"]', sample):
        return 0.0
    signs = rb'"(messages|input|prompt|choices|custom_id|chat\.completion|output_text)"'
    return 0.8 if re.search(signs, sample) else 0.2
