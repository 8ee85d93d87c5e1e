#include "gateway/rest_path.h"

#include <string.h>

struct bnd_slice rest_path_from(struct bnd_slice path, size_t n) {
    struct bnd_slice rest = path;
    for (size_t i = 0; i <= n; i++) {
        const uint8_t *slash = rest.len == 0 ? NULL : memchr(rest.data, '/', rest.len);
        if (slash == NULL) {
            return bnd_slice(NULL, 0);
        }
        size_t skip = (size_t)(slash - rest.data) + 1;
        rest = bnd_slice(rest.data + skip, rest.len - skip);
    }
    return rest;
}

struct bnd_slice rest_path_segment(struct bnd_slice path, size_t n) {
    struct bnd_slice rest = rest_path_from(path, n);
    const uint8_t *slash = rest.len == 0 ? NULL : memchr(rest.data, '/', rest.len);
    return slash == NULL ? rest : bnd_slice(rest.data, (size_t)(slash - rest.data));
}

bool rest_path_fits(struct bnd_slice path, const char *pattern) {
    if (path.len == 0 || path.data[0] != '/') {
        return false;
    }
    for (size_t n = 0;; n++) {
        pattern++; /* the slash */
        size_t len = strcspn(pattern, "/");
        struct bnd_slice rest = rest_path_from(path, n);
        struct bnd_slice segment = rest_path_segment(path, n);
        if (len == 2 && memcmp(pattern, "**", 2) == 0) {
            return rest.len > 0;
        }
        bool any = len == 1 && pattern[0] == '*';
        if (segment.data == NULL ||
            (any ? segment.len == 0 : !bnd_slice_eq(segment, bnd_slice(pattern, len)))) {
            return false;
        }
        pattern += len;
        if (*pattern == 0) {
            return rest.len == segment.len;
        }
    }
}

const struct rest_route *rest_route_find(const struct rest_route *routes,
                                         enum bnd_http_method method, struct bnd_slice path,
                                         bool *known) {
    for (; routes->pattern != NULL; routes++) {
        if (!rest_path_fits(path, routes->pattern)) {
            continue;
        }
        *known = true;
        if (routes->method == method ||
            (routes->method == BND_HTTP_GET && method == BND_HTTP_HEAD)) {
            return routes;
        }
    }
    return NULL;
}
