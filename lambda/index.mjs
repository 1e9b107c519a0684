// The sample function behind `GET /user`. API Gateway has already checked the token and its scope.
//
// It writes one line of JSON a call and never the event itself: the event carries the caller's bearer token.
export const handler = async (event) => {
  const context = event.requestContext ?? {};
  const claims = context.authorizer?.claims ?? {};
  console.log(
    JSON.stringify({
      request_id: context.requestId,
      client_id: claims.client_id,
      scope: claims.scope,
      path: event.path,
    }),
  );
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message: "Permission granted you can access this resource" }),
  };
};
