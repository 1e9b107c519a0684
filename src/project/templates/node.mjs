// Answers every route that names this function. API Gateway has already checked the token and its scope.
//
// It logs one line of JSON a call and never the event itself: the event has the caller's token.
export const handler = async (event) => {
  const route = `${event.httpMethod} ${event.path}`;
  const client_id = event.requestContext?.authorizer?.claims?.client_id ?? null;
  console.log(JSON.stringify({ route, client_id }));
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ message: `${route} works`, client_id }),
  };
};
