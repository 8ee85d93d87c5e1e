/* DeleteObject. Deleting what is not there is a success, as in S3, unless a condition says
 * otherwise. */
#include "gateway/s3/conditions.h"
#include "gateway/s3/s3_private.h"

#include <stddef.h>

struct delete_op {
    struct bnd_object_delete del;
    struct s3_conditions conditions;
};

static struct delete_op *op_of(struct s3_request *request) {
    return S3_OP(request, struct delete_op);
}

static void deleted(struct s3_request *request) {
    s3_respond(request, 204, bnd_slice(NULL, 0));
}

static void on_deleted(struct bnd_object_delete *del, int status, bool existed) {
    struct s3_request *request = del->data;
    if (status == 0 && existed) {
        deleted(request);
    } else if (status == 0 || status == BND_NOTFOUND) {
        s3_missing(request, S3_OK, deleted);
    } else if (status == BND_PRECONDITION) {
        s3_missing(request, S3_PreconditionFailed, NULL);
    } else {
        s3_fail_code(request, status);
    }
}

static void run(struct s3_request *request) {
    struct delete_op *op = op_of(request);
    const char *why = NULL;
    enum s3_error error = s3_conditions_read(request->http->head, "", &op->conditions, &why);
    if (error != S3_OK) {
        s3_fail(request, error, why);
        return;
    }
    struct bnd_object_name name = s3_object_name(request);
    bool conditional = s3_conditions_any(&op->conditions);
    op->del.cb = on_deleted;
    op->del.data = request;
    int rv = bnd_object_delete(request->service->services->objects, &op->del, &name,
                               conditional ? &op->conditions.conditions : NULL);
    if (rv != 0) {
        s3_fail_code(request, rv);
    }
}

const struct s3_step s3_step_delete = {run, NULL, BND_PERM_OBJECT_WRITE, true};
