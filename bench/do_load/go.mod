module bindery/bench/do_load

go 1.19
