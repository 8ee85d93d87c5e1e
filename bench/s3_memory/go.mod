module bindery/bench/s3_memory

go 1.19
