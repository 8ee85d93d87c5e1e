module bindery/jepsen

go 1.19

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/aws/aws-sdk-go-v2 v1.24.1
	github.com/florianl/go-nfqueue v1.3.2
	golang.org/x/sys v0.0.0-20220128215802-99c3d69c2c27
)

require (
	github.com/aws/smithy-go v1.19.0 // indirect
	github.com/google/go-cmp v0.5.8 // indirect
	github.com/josharian/native v1.0.0 // indirect
	github.com/mdlayher/netlink v1.6.0 // indirect
	github.com/mdlayher/socket v0.1.1 // indirect
	golang.org/x/net v0.0.0-20220127200216-cd36cc0744dd // indirect
	golang.org/x/sync v0.0.0-20210220032951-036812b2e83c // indirect
)
