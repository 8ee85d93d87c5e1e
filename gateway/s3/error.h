/* The errors S3 clients know: code, HTTP status, message ("Error responses", Amazon S3 API
 * reference; R2's subset). */
#ifndef BND_GATEWAY_S3_ERROR_H
#define BND_GATEWAY_S3_ERROR_H

#define S3_ERRORS(X)                                                                               \
    X(OK, 200, "")                                                                                 \
    X(AccessDenied, 403, "Access Denied")                                                          \
    X(AuthorizationHeaderMalformed, 400,                                                           \
      "The authorization header that you provided is not valid.")                                  \
    X(AuthorizationQueryParametersError, 400,                                                      \
      "The query parameters that sign the request are not valid.")                                 \
    X(BadDigest, 400,                                                                              \
      "The Content-MD5 or checksum value that you specified did not match what the server "        \
      "received.")                                                                                 \
    X(BucketAlreadyOwnedByYou, 409,                                                                \
      "Your previous request to create the named bucket succeeded and you already own it.")        \
    X(BucketNotEmpty, 409, "The bucket you tried to delete is not empty.")                         \
    X(EntityTooLarge, 400, "Your proposed upload exceeds the maximum allowed object size.")        \
    X(EntityTooSmall, 400,                                                                         \
      "Your proposed upload is smaller than the minimum allowed object size.")                     \
    X(IncompleteBody, 400,                                                                         \
      "You did not provide the number of bytes specified by the Content-Length HTTP header.")      \
    X(InsufficientStorage, 507, "There is not enough space left on the cluster.")                  \
    X(InternalError, 500, "We encountered an internal error. Please try again.")                   \
    X(InvalidAccessKeyId, 403,                                                                     \
      "The AWS access key ID that you provided does not exist in our records.")                    \
    X(InvalidArgument, 400, "Invalid Argument")                                                    \
    X(InvalidBucketName, 400, "The specified bucket is not valid.")                                \
    X(InvalidDigest, 400, "The Content-MD5 or checksum value that you specified is not valid.")    \
    X(InvalidPart, 400, "One or more of the specified parts could not be found.")                  \
    X(InvalidPartNumber, 416, "The requested partnumber is not satisfiable")                       \
    X(InvalidPartOrder, 400, "The list of parts was not in ascending order.")                      \
    X(InvalidRange, 416, "The requested range is not satisfiable.")                                \
    X(InvalidRequest, 400, "The request is not valid.")                                            \
    X(InvalidStorageClass, 400, "The storage class you specified is not valid.")                   \
    X(InvalidURI, 400, "Couldn't parse the specified URI.")                                        \
    X(KeyTooLongError, 400, "Your key is too long.")                                               \
    X(MalformedXML, 400, "The XML that you provided was not well formed or did not validate.")     \
    X(MetadataTooLarge, 400, "Your metadata headers exceed the maximum allowed metadata size.")    \
    X(MethodNotAllowed, 405, "The specified method is not allowed against this resource.")         \
    X(MissingContentLength, 411, "You must provide the Content-Length HTTP header.")               \
    X(MissingSecurityHeader, 400, "Your request was missing a required header.")                   \
    X(NoSuchBucket, 404, "The specified bucket does not exist.")                                   \
    X(NoSuchKey, 404, "The specified key does not exist.")                                         \
    X(NoSuchUpload, 404, "The specified multipart upload does not exist.")                         \
    X(NotImplemented, 501,                                                                         \
      "A header or query you provided implies functionality that is not implemented.")             \
    X(NotModified, 304, "Not Modified")                                                            \
    X(PreconditionFailed, 412, "At least one of the pre-conditions you specified did not hold.")   \
    X(RequestTimeTooSkewed, 403,                                                                   \
      "The difference between the request time and the server's time is too large.")               \
    X(RequestTimeout, 400,                                                                         \
      "Your socket connection to the server was not read from or written to in time.")             \
    X(ServiceUnavailable, 503, "Please reduce your request rate or try again.")                    \
    X(SignatureDoesNotMatch, 403,                                                                  \
      "The request signature that we calculated does not match the one you provided.")             \
    X(SlowDown, 503, "Please reduce your request rate.")                                           \
    X(XAmzContentSHA256Mismatch, 400,                                                              \
      "The provided x-amz-content-sha256 header does not match what was computed.")

enum s3_error {
#define X(name, status, message) S3_##name,
    S3_ERRORS(X)
#undef X
};

/* Constant texts and the HTTP status of an error. */
const char *s3_error_code(enum s3_error error);
const char *s3_error_message(enum s3_error error);
unsigned s3_error_status(enum s3_error error);

#endif
