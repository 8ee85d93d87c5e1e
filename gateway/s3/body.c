/* The body of a request on its way in.
 *
 *   s3_body_next -> read -> decode -> digest (here, or on the pool) -> on_data -> s3_body_next ...
 *                        -> end: check everything -> on_end
 *
 * One step is under way at a time, so ending the request between two steps needs no unwinding. */
#include "gateway/s3/body.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "gateway/s3/base64.h"

/* ---- what the headers say
 * --------------------------------------------------------------------------------------- */

static enum s3_error read_length(struct s3_body *body, const char **why) {
    const struct s3_request *request = body->request;
    const struct bnd_http_head *head = request->http->head;
    struct bnd_slice decoded = s3_header(request, "x-amz-decoded-content-length");
    body->aws_chunked = request->signature.payload >= S3_PAYLOAD_CHUNKED_SIGNED;
    body->length = head->has_content_length ? head->content_length : BND_OBJECT_SIZE_UNKNOWN;
    *why = s3_error_message(S3_MissingContentLength);
    if (body->aws_chunked) {
        return s3_decimal(decoded, &body->length) ? S3_OK : S3_MissingContentLength;
    }
    return head->has_content_length || head->chunked ? S3_OK : S3_MissingContentLength;
}

/* One checksum in a header, or announced for the trailer. */
static enum s3_error read_checksums(struct s3_body *body, const char **why) {
    struct bnd_slice md5 = s3_header(body->request, "content-md5");
    struct bnd_slice trailer = s3_header(body->request, "x-amz-trailer");
    unsigned given = 0;
    *why = s3_error_message(S3_InvalidDigest);
    if (md5.data != NULL) {
        if (!s3_base64_decode_exact(md5, body->expected.value[BND_CHECKSUM_MD5], 16)) {
            return S3_InvalidDigest;
        }
        body->expected.present |= 1u << BND_CHECKSUM_MD5;
    }
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT && !body->list_of_parts; kind++) {
        const char *name = s3_checksum_header(kind);
        struct bnd_slice value = name == NULL ? bnd_slice(NULL, 0) : s3_header(body->request, name);
        bool announced = name != NULL && trailer.data != NULL && bnd_http_text_is(trailer, name);
        if (value.data == NULL && !announced) {
            continue;
        }
        body->checksum = kind;
        body->in_trailer = announced;
        given++;
        if (!announced) {
            if (!s3_base64_decode_exact(value, body->expected.value[kind],
                                        bnd_checksum_bytes(kind))) {
                return S3_InvalidDigest;
            }
            body->expected.present |= (uint8_t)(1u << kind);
        }
    }
    if (given > 1 || (trailer.data != NULL && !body->in_trailer) ||
        (body->in_trailer && !body->aws_chunked)) {
        *why = "Expecting a single x-amz-checksum- header or trailer.";
        return S3_InvalidRequest;
    }
    return S3_OK;
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk);
static void run_digest(struct bnd_work *work);
static void digest_done(struct bnd_work *work, int status);

enum s3_error s3_body_open(struct s3_body *body, struct s3_request *request, unsigned extra_kinds,
                           const char **why) {
    body->request = request;
    body->checksum = BND_CHECKSUM_COUNT;
    body->read =
        (struct bnd_http_read){.cb = on_piece, .data = body, .bytes_min = BND_HTTP_CHUNK_BYTES};
    body->work = (struct bnd_work){.run = run_digest, .done = digest_done, .data = body};
    enum s3_error error = read_length(body, why);
    error = error != S3_OK ? error : read_checksums(body, why);
    if (error != S3_OK) {
        return error;
    }
    unsigned kinds = extra_kinds | 1u << BND_CHECKSUM_MD5;
    kinds |= body->checksum == BND_CHECKSUM_COUNT ? 0 : 1u << body->checksum;
    kinds |= request->signature.payload == S3_PAYLOAD_HASH ? 1u << BND_CHECKSUM_SHA256 : 0;
    *why = s3_error_message(S3_SlowDown);
    if (s3_digest_init(&body->digest, kinds) != 0) {
        return S3_SlowDown;
    }
    if (body->aws_chunked) {
        body->plain = bnd_alloc(BND_HTTP_CHUNK_BYTES);
        body->decoder = bnd_zalloc(sizeof *body->decoder);
        if (body->plain == NULL || body->decoder == NULL ||
            s3_chunked_init(body->decoder, &request->signature, &request->signing_key) != 0) {
            return S3_SlowDown;
        }
    }
    return S3_OK;
}

void s3_body_close(struct s3_body *body) {
    if (body->chunk != NULL) {
        bnd_http_chunk_release(body->chunk);
        body->chunk = NULL;
    }
    if (body->decoder != NULL) {
        s3_chunked_free(body->decoder);
        bnd_free(body->decoder);
        body->decoder = NULL;
    }
    bnd_free(body->plain);
    body->plain = NULL;
    s3_digest_free(&body->digest);
}

/* ---- the end
 * ------------------------------------------------------------------------------------------- */

/* The announced checksum, out of the trailers. */
static bool take_trailer(struct s3_body *body) {
    for (size_t i = 0; i < body->decoder->trailer_count; i++) {
        const struct s3_trailer *trailer = &body->decoder->trailers[i];
        if (bnd_http_text_is(trailer->name, s3_checksum_header(body->checksum))) {
            body->expected.present |= (uint8_t)(1u << body->checksum);
            return s3_base64_decode_exact(trailer->value, body->expected.value[body->checksum],
                                          bnd_checksum_bytes(body->checksum));
        }
    }
    return false;
}

static enum s3_error check_digests(struct s3_body *body) {
    const struct s3_request *request = body->request;
    s3_digest_final(&body->digest, &body->computed);
    if (request->signature.payload == S3_PAYLOAD_HASH &&
        memcmp(request->signature.payload_hash, body->computed.value[BND_CHECKSUM_SHA256], 32) !=
            0) {
        return S3_XAmzContentSHA256Mismatch;
    }
    if (body->in_trailer && !take_trailer(body)) {
        return S3_InvalidDigest;
    }
    for (enum bnd_checksum kind = 0; kind < BND_CHECKSUM_COUNT; kind++) {
        if ((body->expected.present & 1u << kind) != 0 &&
            memcmp(body->expected.value[kind], body->computed.value[kind],
                   bnd_checksum_bytes(kind)) != 0) {
            return S3_BadDigest;
        }
    }
    return S3_OK;
}

static void end(struct s3_body *body) {
    if ((body->aws_chunked && !body->decoded_end) ||
        (body->length != BND_OBJECT_SIZE_UNKNOWN && body->received != body->length)) {
        s3_fail(body->request, S3_IncompleteBody, NULL);
        return;
    }
    enum s3_error error = check_digests(body);
    if (error != S3_OK) {
        s3_fail(body->request, error, NULL);
        return;
    }
    body->on_end(body->request);
}

/* ---- a piece
 * ------------------------------------------------------------------------------------------- */

static void run_digest(struct bnd_work *work) {
    struct s3_body *body = work->data;
    s3_digest_update(&body->digest, body->data);
}

static void digest_done(struct bnd_work *work, int status) {
    struct s3_body *body = work->data;
    if (status != 0) {
        s3_fail_code(body->request, status);
        return;
    }
    body->on_data(body->request, body->data);
}

/* Hashing 64 KiB takes a tenth of a millisecond: the loop does it only for bodies of one piece, or
 * when the pool has no room. */
static void digest(struct s3_body *body) {
    struct bnd_env *env = body->request->service->services->env;
    body->received += body->data.len;
    if (body->length != BND_OBJECT_SIZE_UNKNOWN && body->received > body->length) {
        s3_fail(body->request, S3_IncompleteBody, NULL);
        return;
    }
    if (body->length <= BND_HTTP_CHUNK_BYTES || env->ops->work(env, &body->work) != 0) {
        run_digest(&body->work);
        body->on_data(body->request, body->data);
    }
}

/* Undoes the aws-chunked coding of one piece: the payload is never longer than its coding. False:
 * the request has been ended. */
static bool decode(struct s3_body *body, struct bnd_slice in) {
    size_t len = 0;
    while (in.len > 0) {
        struct bnd_slice data;
        if (body->decoded_end) {
            s3_fail(body->request, S3_IncompleteBody, "Bytes follow the last chunk.");
            return false;
        }
        switch (s3_chunked_next(body->decoder, &in, &data)) {
        case S3_CHUNKED_DATA:
            BND_ASSERT(data.len <= BND_HTTP_CHUNK_BYTES - len);
            memcpy(body->plain + len, data.data, data.len);
            len += data.len;
            break;
        case S3_CHUNKED_END:
            body->decoded_end = true;
            break;
        case S3_CHUNKED_MORE:
            BND_ASSERT(in.len == 0);
            break;
        case S3_CHUNKED_BAD:
            s3_fail(body->request, S3_IncompleteBody,
                    "The chunks of the body are not well formed.");
            return false;
        case S3_CHUNKED_FORGED:
            s3_fail(body->request, S3_SignatureDoesNotMatch, NULL);
            return false;
        }
    }
    body->data = bnd_slice(body->plain, len);
    return true;
}

static void on_piece(struct bnd_http_read *read, int status, struct bnd_http_chunk *chunk) {
    struct s3_body *body = read->data;
    if (status != 0) {
        s3_abort(body->request); /* the client is gone, or its framing broken: no answer arrives */
        return;
    }
    body->chunk = chunk;
    if (chunk == NULL) {
        end(body);
        return;
    }
    body->data = chunk->bytes;
    if (body->aws_chunked && !decode(body, chunk->bytes)) {
        return;
    }
    if (body->data.len == 0) {
        s3_body_next(body);
    } else {
        digest(body);
    }
}

void s3_body_next(struct s3_body *body) {
    if (body->chunk != NULL) {
        bnd_http_chunk_release(body->chunk);
        body->chunk = NULL;
    }
    if (body->request->http->body_ended && body->asked) {
        end(body);
    } else {
        body->asked = true; /* at least once: the client may wait for 100 Continue */
        bnd_http_body_read(body->request->http, &body->read);
    }
}
