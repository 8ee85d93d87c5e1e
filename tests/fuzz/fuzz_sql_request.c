/* A request that is decoded is encoded again to the same bytes, statement by statement. Seeds:
 * tests/fuzz/corpus/fuzz_sql_request. */
#include "sql/request.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct bnd_sql_request request;
    if (bnd_sql_request_decode(bnd_slice(data, len), &request) != 0) {
        return 0;
    }
    struct bnd_buf again = {0};
    bnd_sql_request_begin(&again, &request);
    for (uint32_t i = 0; i < request.statements_count; i++) {
        struct bnd_sql_statement statement;
        bnd_sql_request_next(&request, &statement);
        bnd_sql_request_statement(&again, statement.text, statement.params_count);
        for (uint32_t j = 0; j < statement.params_count; j++) {
            struct bnd_sql_value value;
            bnd_sql_statement_next(&statement, &value);
            bnd_sql_request_param(&again, &value);
        }
    }
    bnd_sql_request_end(&again, request.statements_count);
    fuzz_same(&again, bnd_slice(data, len));
    return 0;
}
