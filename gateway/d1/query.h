/* A query of either surface, from its body to its answer: internal to gateway/.
 *
 * The body is read as it comes into a request for the leader, the database is found, the request is
 * executed, and what is answered is the leader's own JSON with a few bytes around it. What it holds
 * meanwhile is counted by gateway/front.h. */
#ifndef BND_GATEWAY_D1_QUERY_H
#define BND_GATEWAY_D1_QUERY_H

#include "gateway/d1/body.h"
#include "gateway/d1/rules.h"
#include "gateway/d1/use.h"
#include "gateway/front.h"
#include "gateway/gateway.h"

#define D1_BODY_TEXT_MAX (32u << 20) /* 4 MiB of blobs or escapes as JSON, and some */

enum d1_end {
    D1_ANSWERED, /* text is the answer */
    D1_REFUSED,  /* failure says how it is told, text why */
    D1_GONE,     /* so is the client */
};

struct d1_query {
    /* set by the owner */
    const struct bnd_gateway_services *services; /* sql and front are not NULL */
    struct bnd_http_request *http;
    struct bnd_slice named;        /* the database; borrowed to the end */
    struct bnd_sql_request header; /* how rows are written, where it may be read, ... */
    bool rest;
    const char *before, *after; /* what the answer is put between */
    /* Once, maybe before d1_query_start returns. */
    void (*ended)(struct d1_query *query, enum d1_end end);
    void *data;
    /* what came of it */
    struct bnd_buf text;
    struct d1_failure failure;
    char bookmark[BND_SQL_BOOKMARK_TEXT + 1]; /* of the state it saw or made; "": not executed */
    /* private */
    struct d1_use use;
    struct d1_body body;
    uint64_t body_text;
    size_t charged;
    struct bnd_http_read read;
    struct bnd_sql_call call;
    struct bnd_http_write write;
    void (*sent)(struct d1_query *query, int status);
};

/* What a session's header says: a constraint, a bookmark, or nothing. False: none of those. */
bool d1_session_read(struct bnd_slice text, struct bnd_sql_request *header);

/* Zero what is not set. */
void d1_query_start(struct d1_query *query);

/* From D1_ANSWERED on: sends text with status 200. sent comes once, maybe before this returns: 0:
 * the HTTP request has been ended, else it is to be aborted. */
void d1_query_send(struct d1_query *query, const struct bnd_http_header *headers, size_t count,
                   void (*sent)(struct d1_query *query, int status));

/* From the end on. */
void d1_query_free(struct d1_query *query);

#endif
