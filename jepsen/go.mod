module bindery/jepsen

go 1.19

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/aws/aws-sdk-go-v2 v1.24.1
)

require github.com/aws/smithy-go v1.19.0 // indirect
