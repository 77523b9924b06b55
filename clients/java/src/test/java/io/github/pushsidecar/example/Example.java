package io.github.pushsidecar.example;

import io.github.pushsidecar.client.PushError;
import io.github.pushsidecar.client.PushSidecar;
import io.github.pushsidecar.xg.v1.AndroidNotification;
import io.github.pushsidecar.xg.v1.PushRequest;
import io.grpc.StatusRuntimeException;

/** Makes one push to one phone. Arguments: the sidecar's address and the phone's device token. */
public final class Example {
  private Example() {}

  public static void main(String[] arguments) {
    String target = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
    String token = arguments.length > 1 ? arguments[1] : "token1";

    PushRequest request =
        PushRequest.newBuilder()
            .setToken(token)
            .setAndroidNotification(
                AndroidNotification.newBuilder().setTitle("Order 1042").setContent("Your parcel is on its way."))
            .build();

    try (PushSidecar sidecar = PushSidecar.connect(target)) {
      System.out.println("push_id " + sidecar.push(request).getPushId());
    } catch (StatusRuntimeException e) {
      PushError error = PushError.of(e);
      System.err.println(error.code() + " " + error.reasonText() + ": " + error.message());
      System.err.println(error.isSafeToRepeat() ? "not sent: it may be sent again" : "it may have been sent");
      System.exit(1);
    }
  }
}
