// The shim over RocksDB's C++ interface: nothing of C++ leaves this file.
extern "C" {
#include "base/error.h"
}
#include "engine/rocks/verify.h"

#include <memory>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/sst_file_reader.h>
#include <string>
#include <vector>

namespace {

// Keys begin with a big-endian slot (engine/state.h); RocksDB's own family has others.
uint32_t slot_of(const std::string &key) {
    uint32_t slot = 0;
    for (size_t i = 0; i < 4; i++) {
        slot = slot << 8 | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0);
    }
    return slot;
}

rocksdb::Options reading_options() {
    rocksdb::Options options;
    options.max_open_files = 64; // else every file is opened by open, and one bad file ends it
    options.paranoid_checks = false;
    options.skip_checking_sst_file_sizes_on_db_open = true;
    return options;
}

rocksdb::Status read_file(const std::string &path, bool whole) {
    rocksdb::SstFileReader reader(reading_options());
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    rocksdb::Status status = reader.Open(path);
    return status.ok() && whole ? reader.VerifyChecksum(options) : status;
}

int file_verdict(const char *path, bool whole, bnd_error *err) {
    rocksdb::Status status = read_file(path, whole);
    if (status.ok()) {
        return 0;
    }
    int code = BND_CORRUPT;
    if (status.IsIOError()) {
        code = rocksdb::Env::Default()->FileExists(path).IsNotFound() ? BND_NOTFOUND : BND_IO;
    }
    return bnd_error_set(err, code, "%s: %s", path, status.ToString().c_str());
}

void verify_file(bnd_rocks_verification *verification, const rocksdb::LiveFileMetaData &about) {
    const std::string path = about.db_path + about.name;
    rocksdb::Status status = read_file(path, true);
    verification->files++;
    if (status.ok()) {
        return;
    }
    const std::string problem = status.ToString();
    const bnd_rocks_damage damage = {path.c_str(), about.column_family_name.c_str(),
                                     problem.c_str(), slot_of(about.smallestkey),
                                     slot_of(about.largestkey)};
    verification->damaged_files++;
    verification->damaged(verification->data, &damage);
}

} // namespace

extern "C" int bnd_rocks_verify_file(const char *path, bnd_error *err) {
    return file_verdict(path, true, err);
}

extern "C" int bnd_rocks_open_file(const char *path, bnd_error *err) {
    return file_verdict(path, false, err);
}

extern "C" int bnd_rocks_verify(bnd_rocks_verification *verification, bnd_error *err) {
    const std::string path = std::string(verification->dir) + "/rocks";
    std::vector<std::string> names;
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    std::vector<rocksdb::ColumnFamilyHandle *> handles;
    rocksdb::DB *opened = nullptr;
    rocksdb::Status status =
        rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(reading_options()), path, &names);
    for (const std::string &name : names) {
        families.emplace_back(name, rocksdb::ColumnFamilyOptions(reading_options()));
    }
    if (status.ok()) {
        status = rocksdb::DB::OpenForReadOnly(rocksdb::DBOptions(reading_options()), path, families,
                                              &handles, &opened);
    }
    if (!status.ok()) {
        return bnd_error_set(err, status.IsIOError() ? BND_IO : BND_CORRUPT, "state: %s",
                             status.ToString().c_str());
    }
    std::unique_ptr<rocksdb::DB> db(opened);
    std::vector<rocksdb::LiveFileMetaData> files;
    db->GetLiveFilesMetaData(&files);
    for (const rocksdb::LiveFileMetaData &file : files) {
        verify_file(verification, file);
    }
    for (rocksdb::ColumnFamilyHandle *handle : handles) {
        (void)db->DestroyColumnFamilyHandle(handle); // nothing else refers to it
    }
    return 0;
}
