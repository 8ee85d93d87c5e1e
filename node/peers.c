#include "node/peers.h"

enum { PEERS_VERSION = 1 };

void node_peers_encode(struct bnd_buf *out, const struct bnd_node_record *nodes, size_t count) {
    bnd_buf_append_str(out, "BNDPEERS");
    bnd_buf_u8(out, PEERS_VERSION);
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].state != BND_NODE_GONE && nodes[i].role == BND_NODE_STORAGE) {
            bnd_buf_u64(out, nodes[i].id);
            bnd_buf_bytes(out, nodes[i].address);
        }
    }
}

int node_peers_each(struct bnd_slice bytes,
                    int (*each)(void *data, uint64_t node, const char *address), void *data) {
    struct bnd_reader r = bnd_reader(bytes);
    struct bnd_slice magic = bnd_read_raw(&r, 8);
    if (!bnd_slice_eq(magic, bnd_slice_str("BNDPEERS")) || bnd_read_u8(&r) != PEERS_VERSION) {
        return BND_CORRUPT;
    }
    int rv = 0;
    while (rv == 0 && !bnd_reader_done(&r)) {
        char text[BND_ADDRESS_MAX];
        uint64_t node = bnd_read_u64(&r);
        struct bnd_slice address = bnd_read_bytes(&r);
        if (r.failed || address.len >= sizeof text) {
            return BND_CORRUPT;
        }
        memcpy(text, address.data, address.len);
        text[address.len] = 0;
        rv = each(data, node, text);
    }
    return rv;
}
