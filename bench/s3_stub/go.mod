module bindery/bench/s3_stub

go 1.19
