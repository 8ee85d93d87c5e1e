/* Cloudflare's REST API of D1, as wrangler and the `cloudflare` SDK use it: internal to gateway/cf
 * (https://developers.cloudflare.com/api/resources/d1/). */
#ifndef BND_GATEWAY_CF_D1_H
#define BND_GATEWAY_CF_D1_H

#include "gateway/d1/rules.h"
#include "gateway/d1/use.h"
#include "gateway/front.h"
#include "gateway/rest_request.h"
#include "gateway/s3/query.h"

/* Segment of "/client/v4/accounts/<account>/d1/database/<uuid or name>/...". */
enum cf_d1_segment { CF_D1_DATABASE = 6, CF_D1_FILE = 4 /* of "/bindery/v1/d1/files/<id>" */ };

/* First in the state of every operation on a database; request->data points to it. */
struct cf_d1_op {
    struct d1_use use;
    void (*clean)(struct rest_request *request); /* of what the operation holds; may be NULL */
};

struct cf_d1_open {
    size_t bytes; /* of the operation's state */
    /* Starts what is wanted of use->uuid; use->data is the request. */
    int (*act)(struct d1_use *use);
    void (*clean)(struct rest_request *request);
};
/* Allocates the operation (zeroed), finds the database and calls act, perhaps before it returns; or
 * ends the request. */
void cf_d1_open(struct rest_request *request, const struct cf_d1_open *open);
/* The allocation alone. False: the request has been ended. */
bool cf_d1_begin(struct rest_request *request, size_t bytes,
                 void (*clean)(struct rest_request *request));

/* Ends the request: a code of sql/ or the catalog; BND_NOTFOUND: there is no such database. */
void cf_d1_fail(struct rest_request *request, int status);

/* How the SQL group answered an operation. False: well. True: it has no such database and group 0
 * is asked again, from where act is called once more, or the request has been ended. */
bool cf_d1_failed(struct rest_request *request, int status);

/* {"uuid","name","version","created_at"}; NULL without memory. */
json_t *cf_d1_database_json(const struct bnd_d1_database *database);
json_t *cf_d1_bookmark_json(const struct bnd_sql_bookmark *bookmark);

/* One by itself, with what lists leave out. */
json_t *cf_d1_single_json(const struct bnd_d1_database *database);
/* Ends the request: how group 0 refused to register a database. */
void cf_d1_fail_register(struct rest_request *request, int status);

/* A place in a database's history as the query names it: "bookmark", "timestamp", or neither. */
struct cf_d1_place {
    bool by_time, by_bookmark;
    uint64_t stamp_ms;
    struct bnd_sql_bookmark bookmark;
};
/* NULL, or why not. */
const char *cf_d1_place_read(const struct s3_query *query, uint64_t now_ms,
                             struct cf_d1_place *out);
/* As cf_d1_failed, of an operation on a place, which may be what there is not. */
bool cf_d1_failed_place(struct rest_request *request, int status, bool by_time);

void cf_d1_run_list(struct rest_request *request);
void cf_d1_run_create(struct rest_request *request);
void cf_d1_run_get(struct rest_request *request);
void cf_d1_run_update(struct rest_request *request);
void cf_d1_run_delete(struct rest_request *request);
void cf_d1_run_query(struct rest_request *request);
void cf_d1_run_raw(struct rest_request *request);
void cf_d1_run_bookmark(struct rest_request *request);
void cf_d1_run_restore(struct rest_request *request);
void cf_d1_run_fork(struct rest_request *request);
void cf_d1_run_pages(struct rest_request *request);
void cf_d1_run_sqlite(struct rest_request *request);
void cf_d1_run_import(struct rest_request *request);
void cf_d1_run_export(struct rest_request *request);
void cf_d1_run_file_put(struct rest_request *request);
void cf_d1_run_file_get(struct rest_request *request);

/* Of "/bindery/v1/d1/files/<id>". NULL: there is none for an import, or else an export, or another
 * request works with it; the request has been ended. */
struct d1_file *cf_d1_file(struct rest_request *request, bool import);
/* Ends the request: another works with the file. */
void cf_d1_fail_busy(struct rest_request *request);
/* Where the client finds a file: at this process, as it calls it. NULL without memory. */
json_t *cf_d1_file_url(const struct rest_request *request, const struct d1_file *file);

#endif
