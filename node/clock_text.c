#include "node/clock_text.h"

void node_tell_clock(struct bnd_env *env, int64_t ahead_ms, bool off) {
    bnd_log(
        env, off ? BND_LOG_ERROR : BND_LOG_INFO, "clock",
        off ? "this node's clock is %lld ms ahead of the others' median: it leads no shard that "
              "another can lead; set the clock"
            : "this node's clock is right again: %lld ms ahead of the others' median",
        (long long)ahead_ms);
}

void node_tell_jump(struct bnd_env *env, uint64_t gid, uint64_t from_ms, uint64_t to_ms) {
    if (to_ms == 0) {
        bnd_log(env, BND_LOG_INFO, "clock", "group %llx: its time is confirmed",
                (unsigned long long)gid);
        return;
    }
    bnd_log(env, BND_LOG_ERROR, "clock",
            "group %llx: its time jumped by %llu s to %llu ms: nothing is deleted by time until "
            "`bindery clock confirm`",
            (unsigned long long)gid, (unsigned long long)((to_ms - from_ms) / 1000),
            (unsigned long long)to_ms);
}
