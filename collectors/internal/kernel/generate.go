package kernel

//go:generate go tool -modfile=../../../packaging/tools/go.mod bpf2go -target amd64,arm64 -cc clang -strip llvm-strip -cflags "-O2 -g -mcpu=v3 -Wall -Werror -I/usr/include/x86_64-linux-gnu" -type flow_key -type flow_row -type zone_key -type event -type frame_key -type frame_row -type image_key -type image -type group -type program -type held -type volume -type hold_key -type hold_row -type hold_event -type service_key -type root_key -type root -type file_key -type derived_row -go-package kernel flows bpf/flows.bpf.c
