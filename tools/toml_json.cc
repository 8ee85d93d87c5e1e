// The shim over toml++ (header only): nothing of C++ leaves this file.
#include "tools/toml_json.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>

extern "C" char *tools_toml_to_json(const char *text, size_t len, char *message, size_t cap) {
    toml::parse_result result = toml::parse(std::string_view(text, len));
    if (!result) {
        const toml::parse_error &error = result.error();
        std::snprintf(message, cap, "line %u: %s", error.source().begin.line,
                      std::string(error.description()).c_str());
        return nullptr;
    }
    std::ostringstream out;
    out << toml::json_formatter{result.table()};
    std::string json = out.str();
    char *copy = strdup(json.c_str());
    if (copy == nullptr) {
        std::snprintf(message, cap, "no memory");
    }
    return copy;
}
