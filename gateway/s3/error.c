#include "gateway/s3/error.h"

static const struct {
    const char *code;
    const char *message;
    unsigned status;
} errors[] = {
#define X(name, status, message) {#name, message, status},
    S3_ERRORS(X)
#undef X
};

const char *s3_error_code(enum s3_error error) {
    return errors[error].code;
}

const char *s3_error_message(enum s3_error error) {
    return errors[error].message;
}

unsigned s3_error_status(enum s3_error error) {
    return errors[error].status;
}
