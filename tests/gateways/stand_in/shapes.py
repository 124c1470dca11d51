"""What a real One-API's objects hold, field by field."""

from __future__ import annotations

from typing import Any

ENABLED = 1
ROOT, ADMIN, COMMON = 100, 10, 1
RATIO = 30  # what One-API charges for a model it has no price for
# PUT updates a struct: only these fields are pointers, which can be set to their zero value.
POINTER_FIELDS = {"weight", "base_url", "other", "model_mapping", "priority", "system_prompt"}
NEW_CHANNEL: dict[str, Any] = {
    "id": 0,
    "type": 0,
    "key": "",
    "status": 1,
    "name": "",
    "weight": 0,
    "created_time": 0,
    "test_time": 0,
    "response_time": 0,
    "base_url": "",
    "other": None,
    "balance": 0,
    "balance_updated_time": 0,
    "models": "",
    "group": "default",
    "used_quota": 0,
    "model_mapping": "",
    "priority": 0,
    "config": "",
    "system_prompt": None,
}
NO_CHANNEL = {**NEW_CHANNEL, "weight": None, "base_url": None, "group": "", "model_mapping": None, "priority": None}
STATUS: dict[str, Any] = {
    "chat_link": "",
    "display_in_currency": True,
    "email_verification": False,
    "footer_html": "",
    "logo": "",
    "github_client_id": "",
    "github_oauth": False,
    "lark_client_id": "",
    "oidc": False,
    "oidc_client_id": "",
    "oidc_authorization_endpoint": "",
    "oidc_token_endpoint": "",
    "oidc_userinfo_endpoint": "",
    "oidc_well_known": "",
    "quota_per_unit": 500000,
    "server_address": "http://localhost:3000",
    "start_time": 1,
    "system_name": "One API",
    "top_up_link": "",
    "turnstile_check": False,
    "turnstile_site_key": "",
    "version": "v0.6.11",
    "wechat_login": False,
    "wechat_qrcode": "",
}
USER: dict[str, Any] = {
    "password": "",
    "status": 1,
    "email": "",
    "github_id": "",
    "wechat_id": "",
    "lark_id": "",
    "oidc_id": "",
    "verification_code": "",
    "access_token": "",
    "quota": 500000000000000,
    "used_quota": 0,
    "request_count": 0,
    "group": "default",
    "aff_code": "",
    "inviter_id": 0,
}
TOKEN: dict[str, Any] = {
    "id": 0,
    "user_id": 1,
    "key": "",
    "status": 1,
    "name": "",
    "created_time": 0,
    "accessed_time": 0,
    "expired_time": 0,
    "remain_quota": 0,
    "unlimited_quota": False,
    "used_quota": 0,
    "models": None,
    "subnet": "",
}
