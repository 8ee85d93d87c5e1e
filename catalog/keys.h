/* Keys of BND_CF_CATALOG: slot (BE32), one of these, a name (SPEC.md, "Catalog"). */
#ifndef BND_CATALOG_KEYS_H
#define BND_CATALOG_KEYS_H

enum catalog_tag {
    CATALOG_TAG_SETTINGS = 's',
    CATALOG_TAG_COUNTERS = 'c',
    CATALOG_TAG_NODE = 'n',
    CATALOG_TAG_BUCKET = 'b',
    CATALOG_TAG_JOIN = 'j',
    CATALOG_TAG_TOKEN = 't',
    CATALOG_TAG_KEY = 'k',
    CATALOG_TAG_KV_NAMESPACE = 'v',
    CATALOG_TAG_KV_SHARD = 'm',
    CATALOG_TAG_D1_DATABASE = 'd', /* by uuid */
    CATALOG_TAG_D1_NAME = 'e',
    CATALOG_TAG_D1_COUNT = 'q',
    CATALOG_TAG_SQL_FOUNDERS = 'f',
};

#endif
