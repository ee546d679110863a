"""The closed lists: every way a check can fail, and every reason a decision can carry."""

from enum import StrEnum


class Failure(StrEnum):
    """A check that could not be completed, as a value. Only `decide` turns one into a verdict."""

    # The request cannot be read. Trying again cannot help, so these are always denied (4xx):
    # an attacker can produce every one of them at will.
    BODY_TRUNCATED = "body_truncated"
    BODY_TOO_LARGE = "body_too_large"
    BODY_NOT_UTF8 = "body_not_utf8"
    BODY_MALFORMED = "body_malformed"
    BODY_TOO_COMPLEX = "body_too_complex"
    BODY_DUPLICATE_KEY = "body_duplicate_key"
    ENCODING_UNSUPPORTED = "encoding_unsupported"
    BODY_BYTE_ORDER_MARK = "body_byte_order_mark"
    BODY_NUMBER_TOO_LARGE = "body_number_too_large"
    CHARSET_UNSUPPORTED = "charset_unsupported"
    ENCODING_MALFORMED = "encoding_malformed"
    MEDIA_UNSUPPORTED = "media_unsupported"
    MEDIA_AMBIGUOUS = "media_ambiguous"
    FORM_MALFORMED = "form_malformed"
    MULTIPART_MALFORMED = "multipart_malformed"
    GRPC_MALFORMED = "grpc_malformed"
    TENSOR_MALFORMED = "tensor_malformed"
    QUERY_MALFORMED = "query_malformed"
    HEADER_MISMATCH = "header_mismatch"
    UPGRADE_UNREADABLE = "upgrade_unreadable"
    IDENTITY_AMBIGUOUS = "identity_ambiguous"
    PATH_AMBIGUOUS = "path_ambiguous"
    TOO_MANY_TOKENS = "too_many_tokens"
    OUTPUT_CAP_MALFORMED = "output_cap_malformed"

    # We could not answer. The rule's `on_failure` decides.
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    MODEL_FAULT = "model_fault"
    STORE_FAULT = "store_fault"

    # A CheckRequest that is not one, or a bug of ours. Always denied.
    CHECK_MALFORMED = "check_malformed"
    INTERNAL_ERROR = "internal_error"


#: Failures for which `on_failure` is consulted. All others are denied whatever the rule says.
SERVER_FAILURES = frozenset(
    {
        Failure.OVERLOADED,
        Failure.DEADLINE_EXCEEDED,
        Failure.CANCELLED,
        Failure.MODEL_FAULT,
        Failure.STORE_FAULT,
    }
)


class Reason(StrEnum):
    """Why a decision is what it is: also the metric label, the log field and the metadata value.

    Every `Failure` and every `Detector` is a reason too, under the same string.
    """

    CLEAN = "clean"
    NOT_INSPECTED = "not_inspected"
    PROMPT_INJECTION = "prompt_injection"
    ROUTE_DENIED = "route_denied"
    OVER_BUDGET = "over_budget"
    OUTPUT_CAP_EXCEEDED = "output_cap_exceeded"

    HIDDEN_TEXT = "hidden_text"
    SPECIAL_TOKENS = "special_tokens"
    ROLE_LOOKALIKES = "role_lookalikes"
    MANY_SHOT = "many_shot"
    CHAT_TEMPLATE = "chat_template"
    UNREADABLE = "unreadable"
    PATTERN = "pattern"
    UNINSPECTED = "uninspected"

    BODY_TRUNCATED = "body_truncated"
    BODY_TOO_LARGE = "body_too_large"
    BODY_NOT_UTF8 = "body_not_utf8"
    BODY_MALFORMED = "body_malformed"
    BODY_TOO_COMPLEX = "body_too_complex"
    BODY_DUPLICATE_KEY = "body_duplicate_key"
    ENCODING_UNSUPPORTED = "encoding_unsupported"
    BODY_BYTE_ORDER_MARK = "body_byte_order_mark"
    BODY_NUMBER_TOO_LARGE = "body_number_too_large"
    CHARSET_UNSUPPORTED = "charset_unsupported"
    ENCODING_MALFORMED = "encoding_malformed"
    MEDIA_UNSUPPORTED = "media_unsupported"
    MEDIA_AMBIGUOUS = "media_ambiguous"
    FORM_MALFORMED = "form_malformed"
    MULTIPART_MALFORMED = "multipart_malformed"
    GRPC_MALFORMED = "grpc_malformed"
    TENSOR_MALFORMED = "tensor_malformed"
    QUERY_MALFORMED = "query_malformed"
    HEADER_MISMATCH = "header_mismatch"
    UPGRADE_UNREADABLE = "upgrade_unreadable"
    IDENTITY_AMBIGUOUS = "identity_ambiguous"
    PATH_AMBIGUOUS = "path_ambiguous"
    TOO_MANY_TOKENS = "too_many_tokens"
    OUTPUT_CAP_MALFORMED = "output_cap_malformed"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    MODEL_FAULT = "model_fault"
    STORE_FAULT = "store_fault"
    CHECK_MALFORMED = "check_malformed"
    INTERNAL_ERROR = "internal_error"
