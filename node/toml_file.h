/* TOML files through toml++: the C side of the shim (node/toml_file.cc). */
#ifndef BND_NODE_TOML_FILE_H
#define BND_NODE_TOML_FILE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Parses TOML text and calls each(data, key, value) for every value, in the order of the file's
 * tables: keys of tables joined by dots; integers, floats and booleans as text; arrays of strings
 * joined by commas. A non-zero return of each stops and is returned. -1: the text is not TOML, or
 * holds a kind of value that no setting has: message (cap bytes) says where and why. */
int node_toml_each(const char *text, size_t len,
                   int (*each)(void *data, const char *key, const char *value), void *data,
                   char *message, size_t cap);

#ifdef __cplusplus
}
#endif

#endif
