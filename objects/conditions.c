/* Conditions on reads and writes: one rule for S3 and R2 (objects.h, RFC 9110 13.2.2). */
#include "objects/objects.h"

struct bnd_object_conditions bnd_object_conditions_none(void) {
    return (struct bnd_object_conditions){
        .uploaded_before_ms = BND_OBJECT_NO_TIME,
        .uploaded_after_ms = BND_OBJECT_NO_TIME,
    };
}

bool bnd_object_conditions_given(const struct bnd_object_conditions *conditions) {
    return conditions->match_given || conditions->not_match_given ||
           conditions->uploaded_before_ms != BND_OBJECT_NO_TIME ||
           conditions->uploaded_after_ms != BND_OBJECT_NO_TIME;
}

static bool includes(const struct bnd_etag *list, size_t count, struct bnd_slice etag,
                     bool weak_compares) {
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind == BND_ETAG_WILDCARD) {
            return true;
        }
        if ((list[i].kind == BND_ETAG_STRONG || weak_compares) &&
            bnd_slice_eq(list[i].value, etag)) {
            return true;
        }
    }
    return false;
}

static uint64_t cut(uint64_t ms, bool seconds) {
    return seconds ? ms - ms % 1000 : ms;
}

enum bnd_condition_result
bnd_object_conditions_check(const struct bnd_object_conditions *conditions,
                            const struct bnd_object_meta *meta) {
    bool asks_before = conditions->uploaded_before_ms != BND_OBJECT_NO_TIME;
    bool asks_after = conditions->uploaded_after_ms != BND_OBJECT_NO_TIME;
    if (meta == NULL) {
        return conditions->match_given || asks_after ? BND_CONDITION_FAILED : BND_CONDITION_OK;
    }
    char text[BND_OBJECT_ETAG_TEXT];
    bnd_object_etag_text(meta, text);
    struct bnd_slice etag = bnd_slice_str(text);
    uint64_t uploaded = cut(meta->uploaded_ms, conditions->seconds);

    bool match = !conditions->match_given ||
                 includes(conditions->match, conditions->match_count, etag, false);
    bool not_match = !conditions->not_match_given ||
                     !includes(conditions->not_match, conditions->not_match_count, etag, true);
    bool before = !asks_before ||
                  uploaded < cut(conditions->uploaded_before_ms, conditions->seconds) ||
                  (conditions->match_given && match);
    bool after = !asks_after ||
                 cut(conditions->uploaded_after_ms, conditions->seconds) < uploaded ||
                 (conditions->not_match_given && not_match);
    if (!match || !before) {
        return BND_CONDITION_FAILED;
    }
    return not_match && after ? BND_CONDITION_OK : BND_CONDITION_NOT_MODIFIED;
}
