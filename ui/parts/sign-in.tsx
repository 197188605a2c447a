// Asks for a bearer token where the API wants one. It is kept in this tab only.

import { useState } from "preact/hooks";
import { useText } from "../text/text.ts";

/** `isRefused` when the last token was not accepted. */
export function SignIn(props: {
  readonly isRefused: boolean;
  readonly onToken: (token: string) => void;
}) {
  const text = useText();
  const [token, setToken] = useState("");
  return (
    <form
      class="sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        props.onToken(token.trim());
      }}
    >
      <h2>{text("signIn.heading")}</h2>
      <p>{text("signIn.body")}</p>
      {props.isRefused ? (
        <p class="problem-text" role="alert">
          {text("signIn.refused")}
        </p>
      ) : null}
      <label>
        {text("signIn.token")}
        <input
          type="password"
          autoComplete="off"
          required
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="primary">
        {text("signIn.button")}
      </button>
    </form>
  );
}
