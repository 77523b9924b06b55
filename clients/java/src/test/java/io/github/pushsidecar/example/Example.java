package io.github.pushsidecar.example;

import io.github.pushsidecar.client.PushError;
import io.github.pushsidecar.client.PushSidecar;
import io.github.pushsidecar.xg.v1.AndroidNotification;
import io.github.pushsidecar.xg.v1.PushRequest;
import io.github.pushsidecar.xg.v1.PushResponse;
import io.grpc.StatusRuntimeException;

/** Makes one push to one Android phone. Arguments: TARGET TOKEN. */
public final class Example {
  private Example() {}

  public static void main(String[] arguments) {
    if (arguments.length != 2) {
      System.err.println("usage: Example TARGET TOKEN  (TARGET: 127.0.0.1:50051 or unix:/run/push-sidecar/push.sock)");
      System.exit(2);
    }
    String target = arguments[0];
    String token = arguments[1];
    try (PushSidecar sidecar = PushSidecar.connect(target)) {
      PushResponse response = sidecar.push(
          PushRequest.newBuilder()
              .setToken(token)
              .setAndroidNotification(
                  AndroidNotification.newBuilder().setTitle("Hello").setContent("Your order is on its way."))
              .build());
      System.out.println("push_id " + response.getPushId());
    } catch (StatusRuntimeException e) {
      PushError error = PushError.of(e);
      String outcome = error.wasNotSent() ? "nothing was pushed" : "it may have gone out";
      System.err.println(error + " " + error.message() + " - " + outcome);
      System.exit(1);
    }
  }
}
