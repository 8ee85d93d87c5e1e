/* Project files of wrangler as JSON documents: JSON, JSON with comments, TOML. */
#ifndef BND_TOOLS_JSONC_H
#define BND_TOOLS_JSONC_H

#include "base/bytes.h"
#include "base/error.h"

#include <jansson.h>

/* Blanks comments (// to the end of the line, and the other kind, which must end) and commas before
 * a closing bracket, in place, so that lines and columns stay. What is inside strings is left
 * alone. BND_INVALID: a string or a comment without end, a lone slash; the message names the line.
 * Everything else is the JSON parser's to judge. */
int tools_jsonc_strip(uint8_t *text, size_t len, struct bnd_error *err);

/* Reads a file whose name ends in .json, .jsonc or .toml. *out is owned. BND_INVALID: another
 * ending, no object, a key twice, bad syntax (message: file, line, what); BND_TOOBIG: above 1 MiB;
 * codes of reading files. */
int tools_project_read(const char *path, json_t **out, struct bnd_error *err);

#endif
