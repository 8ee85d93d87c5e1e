/* Project files: comment stripping and what is read from the document never leave their bounds, and
 * a configuration made of one is made of whole text literals. */
#include "base/alloc.h"
#include "tests/fuzz/fuzz.h"
#include "tools/jsonc.h"
#include "tools/workerd_config.h"

static void read_project(const json_t *document, bool partial) {
    struct tools_project project;
    struct tools_project_options options = {.partial = partial};
    char file[] = "w.js";
    struct tools_workerd_options wanted = {.modules = {{"w.js", file}},
                                           .modules_count = 1,
                                           .listen = "a:1",
                                           .peers = "b:2",
                                           .disk = "/d",
                                           .bucket = "b",
                                           .endpoint = "http://h",
                                           .access_key = "a",
                                           .secret_key = "s",
                                           .cluster_key = "k"};
    BND_AUTO_BUF struct bnd_buf out = {0};
    if (tools_project_parse(document, &options, &project, NULL) == 0) {
        BND_ASSERT(tools_workerd_config(&project, &wanted, &out, NULL) == 0);
        bool inside = false;
        for (size_t i = 0; i < out.len; i++) {
            if (inside && out.data[i] == '\\') {
                i++;
            } else if (out.data[i] == '"') {
                inside = !inside;
            } else {
                BND_ASSERT(!inside || out.data[i] >= 0x20);
            }
        }
        BND_ASSERT(!inside);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *text = bnd_memdup(data, size);
    BND_ASSERT(text != NULL);
    if (tools_jsonc_strip(text, size, NULL) == 0) {
        json_t *document = json_loadb((const char *)text, size, JSON_REJECT_DUPLICATES, NULL);
        if (json_is_object(document)) {
            read_project(document, false);
            read_project(document, true);
        }
        json_decref(document);
    }
    bnd_free(text);
    return 0;
}
