/* TOML as JSON text through toml++: the C side of tools/toml_json.cc. */
#ifndef BND_TOOLS_TOML_JSON_H
#define BND_TOOLS_TOML_JSON_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The document as JSON text, terminated, allocated with malloc; dates become strings. NULL: it is
 * not TOML or there is no memory; message (cap bytes) says where and why. */
char *tools_toml_to_json(const char *text, size_t len, char *message, size_t cap);

#ifdef __cplusplus
}
#endif

#endif
