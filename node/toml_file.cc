// The shim over toml++ (header only): nothing of C++ leaves this file.
#include "node/toml_file.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <cstdio>
#include <string>

namespace {

struct walk {
    int (*each)(void *, const char *, const char *);
    void *data;
    char *message;
    size_t cap;
};

bool scalar_text(const toml::node &node, std::string &out) {
    if (auto s = node.as_string()) {
        out = s->get();
    } else if (auto i = node.as_integer()) {
        out = std::to_string(i->get());
    } else if (auto b = node.as_boolean()) {
        out = b->get() ? "true" : "false";
    } else {
        return false;
    }
    return true;
}

bool array_text(const toml::node &node, std::string &out) {
    auto array = node.as_array();
    if (array == nullptr) {
        return false;
    }
    for (const auto &item : *array) {
        std::string text;
        if (!scalar_text(item, text)) {
            return false;
        }
        out += out.empty() ? text : "," + text;
    }
    return true;
}

int visit(const walk &w, const toml::table &table, const std::string &prefix) {
    for (const auto &entry : table) {
        std::string key = prefix + std::string(entry.first.str());
        std::string text;
        if (auto inner = entry.second.as_table()) {
            int rv = visit(w, *inner, key + ".");
            if (rv != 0) {
                return rv;
            }
        } else if (scalar_text(entry.second, text) || array_text(entry.second, text)) {
            int rv = w.each(w.data, key.c_str(), text.c_str());
            if (rv != 0) {
                return rv;
            }
        } else {
            std::snprintf(w.message, w.cap, "line %u: %s: no setting has a value of this kind",
                          entry.second.source().begin.line, key.c_str());
            return -1;
        }
    }
    return 0;
}

} // namespace

extern "C" int node_toml_each(const char *text, size_t len,
                              int (*each)(void *data, const char *key, const char *value),
                              void *data, char *message, size_t cap) {
    toml::parse_result result = toml::parse(std::string_view(text, len));
    if (!result) {
        const toml::parse_error &error = result.error();
        std::snprintf(message, cap, "line %u: %s", error.source().begin.line,
                      std::string(error.description()).c_str());
        return -1;
    }
    return visit(walk{each, data, message, cap}, result.table(), "");
}
