#include "catalog/command.h"

void bnd_catalog_command_encode(struct bnd_buf *out, const struct bnd_catalog_command *command) {
    bnd_buf_u8(out, (uint8_t)command->op);
    bnd_buf_u64(out, command->id);
    bnd_buf_u64(out, command->number);
    bnd_buf_bytes(out, command->a);
    bnd_buf_bytes(out, command->b);
    bnd_buf_bytes(out, command->c);
}

int bnd_catalog_command_decode(struct bnd_slice bytes, struct bnd_catalog_command *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t op = bnd_read_u8(&r);
    struct bnd_catalog_command command = {.op = (enum bnd_catalog_op)op};
    command.id = bnd_read_u64(&r);
    command.number = bnd_read_u64(&r);
    command.a = bnd_read_bytes(&r);
    command.b = bnd_read_bytes(&r);
    command.c = bnd_read_bytes(&r);
    if (!bnd_reader_done(&r) || op < BND_CATALOG_INIT || op >= BND_CATALOG_OPS) {
        return BND_INVALID;
    }
    *out = command;
    return 0;
}

void bnd_catalog_query_encode(struct bnd_buf *out, const struct bnd_catalog_query *query) {
    bnd_buf_u8(out, (uint8_t)query->kind);
    bnd_buf_u64(out, query->number);
    bnd_buf_bytes(out, query->a);
    bnd_buf_bytes(out, query->b);
}

int bnd_catalog_query_decode(struct bnd_slice bytes, struct bnd_catalog_query *out) {
    struct bnd_reader r = bnd_reader(bytes);
    uint8_t kind = bnd_read_u8(&r);
    struct bnd_catalog_query query = {.kind = (enum bnd_catalog_query_kind)kind};
    query.number = bnd_read_u64(&r);
    query.a = bnd_read_bytes(&r);
    query.b = bnd_read_bytes(&r);
    if (!bnd_reader_done(&r) || kind < BND_CATALOG_QUERY_BUCKET || kind >= BND_CATALOG_QUERIES) {
        return BND_INVALID;
    }
    *out = query;
    return 0;
}
