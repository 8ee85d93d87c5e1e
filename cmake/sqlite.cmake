# SQLite, with row counters (ADR 0103): the amalgamation inside the npm package that cmake/sqlite.lock names, which
# tools/setup has put into the cache. Library bnd_sqlite, linked statically; its headers are for sql/ only.
block()
file(STRINGS ${CMAKE_SOURCE_DIR}/cmake/sqlite.lock lock)
string(REPLACE " " ";" lock "${lock}")
list(GET lock 0 name)
list(GET lock 1 version)
list(GET lock 2 wanted)
set(cache $ENV{XDG_CACHE_HOME})
if(NOT cache)
    set(cache $ENV{HOME}/.cache)
endif()
set(tarball ${cache}/bindery/${name}-${version}.tgz)
if(NOT EXISTS ${tarball})
    message(FATAL_ERROR "${tarball} is missing: run tools/setup (or put the tarball of that npm package there)")
endif()
file(SHA512 ${tarball} found)
if(NOT found STREQUAL wanted)
    message(FATAL_ERROR "${tarball} is not what cmake/sqlite.lock names: remove it and run tools/setup")
endif()

# The counters are put in once per build directory, and again when they or the package change.
set(counters ${CMAKE_SOURCE_DIR}/cmake/sqlite_counters.py)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${counters} ${CMAKE_SOURCE_DIR}/cmake/sqlite.lock)
set(sqlite ${CMAKE_BINARY_DIR}/sqlite)
file(SHA512 ${counters} script)
set(made "")
if(EXISTS ${sqlite}/made)
    file(READ ${sqlite}/made made)
endif()
if(NOT made STREQUAL "${wanted} ${script}")
    find_program(BND_PYTHON3 python3 REQUIRED)
    file(REMOVE_RECURSE ${sqlite})
    file(MAKE_DIRECTORY ${sqlite})
    file(ARCHIVE_EXTRACT INPUT ${tarball} DESTINATION ${sqlite} PATTERNS package/deps/sqlite3/*.c package/deps/sqlite3/*.h)
    execute_process(COMMAND ${BND_PYTHON3} ${counters} ${sqlite}/package/deps/sqlite3/sqlite3.c ${sqlite}/sqlite3.c
        COMMAND_ERROR_IS_FATAL ANY)
    file(RENAME ${sqlite}/package/deps/sqlite3/sqlite3.h ${sqlite}/sqlite3.h)
    file(REMOVE_RECURSE ${sqlite}/package)
    file(WRITE ${sqlite}/made "${wanted} ${script}")
endif()

add_library(bnd_sqlite STATIC ${sqlite}/sqlite3.c)
target_include_directories(bnd_sqlite SYSTEM PUBLIC ${sqlite})
target_link_libraries(bnd_sqlite PRIVATE m)
# What D1's own SQLite is built with, so that a statement means the same here and there.
target_compile_definitions(bnd_sqlite PRIVATE
    SQLITE_MAX_ALLOCATION_SIZE=16777216 SQLITE_PRINTF_PRECISION_LIMIT=100000 SQLITE_DEFAULT_FOREIGN_KEYS=1
    SQLITE_ENABLE_FTS5 SQLITE_ENABLE_RTREE SQLITE_ENABLE_MATH_FUNCTIONS SQLITE_ENABLE_UPDATE_DELETE_LIMIT
    SQLITE_ENABLE_NORMALIZE SQLITE_OMIT_SHARED_CACHE SQLITE_DQS=3)
# And what is ours: no locks (a connection belongs to one thread at a time), no counters that all threads share, nothing
# loaded, nothing temporary in files.
target_compile_definitions(bnd_sqlite PRIVATE
    SQLITE_THREADSAFE=2 SQLITE_DEFAULT_MEMSTATUS=0 SQLITE_OMIT_LOAD_EXTENSION SQLITE_TEMP_STORE=3
    SQLITE_MAX_WORKER_THREADS=0 SQLITE_MAX_MMAP_SIZE=0)
# Not ours to warn about; optimised in every build, or no test under a sanitizer would end (-O1 there: a minute less to
# compile). What it does to our memory is seen by the sanitizers of memory and threads; its arithmetic is not what they
# look for here.
set(options -w -O2 -g1 -fno-strict-aliasing -fno-omit-frame-pointer)
if(BND_SANITIZE MATCHES "address|thread")
    list(APPEND options -O1 -fsanitize=${CMAKE_MATCH_0})
endif()
set_target_properties(bnd_sqlite PROPERTIES COMPILE_OPTIONS "${options}")
endblock()
