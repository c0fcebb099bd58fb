"use strict";
SwaggerUIBundle({
  url: "/api/v1/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // would ask a server elsewhere
  queryConfigEnabled: false, // no address of a document from the address of the page
  // A change by a session needs it.
  requestInterceptor: (request) => {
    request.headers["X-Daybreak-Request"] = "1";
    return request;
  },
});
